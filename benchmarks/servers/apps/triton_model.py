"""The model for Triton's Python backend, as its documentation has them."""

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = pb_utils.get_model_dir() + "/model.onnx"
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "x").as_numpy()) for request in requests]

    def answer(self, rows):
        label, probabilities = self.session.run(None, {"x": rows})
        outputs = [pb_utils.Tensor("label", label), pb_utils.Tensor("probabilities", probabilities)]
        return pb_utils.InferenceResponse(output_tensors=outputs)
