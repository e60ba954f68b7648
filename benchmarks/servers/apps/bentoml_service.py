"""What a team writes with BentoML around ONNX Runtime: typed request, no batching; metrics, traces and logs off."""

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime
from pydantic import BaseModel


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}}, traffic={"timeout": 60})
class Flights:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = os.environ["BENCHMARK_MODEL"]
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @bentoml.api(route="/v2/models/flights/infer")  # type: ignore[misc]
    async def infer(self, inputs: list[Tensor]) -> dict[str, Any]:
        feed = {each.name: np.array(each.data, np.float32).reshape(each.shape) for each in inputs}
        outputs = self.session.run(None, feed)
        return {"model_name": "flights", "outputs": [{"data": each.ravel().tolist()} for each in outputs]}
