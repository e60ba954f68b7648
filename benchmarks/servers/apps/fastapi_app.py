"""What a team writes with FastAPI around ONNX Runtime: typed request and answer, nothing counted, nothing kept."""

import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    inputs: list[Tensor]


class Output(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class Response(BaseModel):
    model_name: str
    outputs: list[Output]


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
app = FastAPI()


@app.post("/v2/models/flights/infer")
async def infer(request: Request) -> Response:
    feed = {each.name: np.array(each.data, np.float32).reshape(each.shape) for each in request.inputs}
    label, probabilities = session.run(None, feed)
    return Response(
        model_name="flights",
        outputs=[
            Output(name="label", shape=list(label.shape), datatype="INT64", data=label.ravel().tolist()),
            Output(
                name="probabilities",
                shape=list(probabilities.shape),
                datatype="FP32",
                data=probabilities.ravel().tolist(),
            ),
        ],
    )


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
