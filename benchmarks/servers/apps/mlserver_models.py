"""Models for MLServer: the ONNX file, and the same gradient boosting in scikit-learn, fitted when it is loaded."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from sklearn.ensemble import GradientBoostingClassifier


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        uri = self.settings.parameters.uri
        self._session = onnxruntime.InferenceSession(uri, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        label, probabilities = self._session.run(None, {"x": NumpyCodec.decode_input(payload.inputs[0])})
        outputs = [NumpyCodec.encode_output("label", label), NumpyCodec.encode_output("probabilities", probabilities)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


class SklearnModel(MLModel):
    async def load(self) -> bool:
        random = np.random.default_rng(1)
        rows = random.normal(size=(2000, 20)).astype(np.float32)
        self._model = GradientBoostingClassifier(max_depth=4, random_state=1)
        self._model.fit(rows, (rows[:, 0] + rows[:, 1] ** 2 > 1).astype(np.int64))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("probabilities", self._model.predict_proba(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
