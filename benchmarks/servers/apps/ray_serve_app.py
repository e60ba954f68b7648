"""What a team writes with Ray Serve around ONNX Runtime: one replica behind its proxy, the access log off.

All ports are on loopback but that of the replica for calls from other replicas, for which Ray Serve has no setting.
"""

import os
import sys
from typing import Any

import numpy as np
import onnxruntime
import ray
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    inputs: list[Tensor]


app = FastAPI()


@serve.deployment(num_replicas=1, max_ongoing_requests=100, logging_config={"enable_access_log": False})
@serve.ingress(app)
class Flights:
    def __init__(self, model: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @app.post("/v2/models/flights/infer")
    async def infer(self, request: Request) -> dict[str, Any]:
        feed = {each.name: np.array(each.data, np.float32).reshape(each.shape) for each in request.inputs}
        outputs = self.session.run(None, feed)
        return {"model_name": "flights", "outputs": [{"data": each.ravel().tolist()} for each in outputs]}


if __name__ == "__main__":
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20,
        _temp_dir=os.path.abspath("ray"),
    )  # fmt: skip
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(sys.argv[2])}, logging_config={"enable_access_log": False}
    )
    serve.run(Flights.bind(sys.argv[1]), blocking=True)  # type: ignore[attr-defined]
