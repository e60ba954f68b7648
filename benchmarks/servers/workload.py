"""What the servers are asked: a model, its signature and contract, and one row in the languages of the servers."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.serving.grpc.messages import MESSAGES

WIDTH = 20
NUMBERS = tuple(f"number_{place}" for place in range(12))
TEXTS = tuple(f"text_{place}" for place in range(4))
LEVELS = tuple(f"level {place}" for place in range(20))
OUTPUTS = (
    TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
    TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 2)),
)


class Workload(NamedTuple):
    model: bytes
    signature: Signature
    contract: Contract
    body: bytes
    feed: dict[str, Any]


def plain() -> Workload:
    """Gradient boosting, 100 trees of depth 4, on 20 numbers."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(2000, WIDTH)).astype(np.float32)
    model = GradientBoostingClassifier(max_depth=4, random_state=1)
    model.fit(rows, (rows[:, 0] + rows[:, 1] ** 2 > 1).astype(np.int64))
    converted = to_onnx(model, initial_types=[("x", FloatTensorType([None, WIDTH]))], options={"zipmap": False})
    spec, row = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, WIDTH)), rows[0].astype(float).round(3).tolist()
    return Workload(
        converted.SerializeToString(),
        Signature(inputs=(spec,), outputs=OUTPUTS, score="probabilities"),
        Contract(columns=tuple(ColumnRule(name=name, kind=Kind.FLOAT, low=-10, high=10) for name in spec.columns)),
        json.dumps({"inputs": [{"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": row}]}).encode(),
        {"x": np.array([row], np.float32)},
    )


def mixed() -> Workload:
    """The same on 12 numbers and 4 texts of 20 levels."""
    random = np.random.default_rng(1)
    frame = np.empty((2000, 16), dtype=object)
    frame[:, :12] = random.normal(size=(2000, 12)).astype(np.float32)
    frame[:, 12:] = random.choice(LEVELS, (2000, 4))
    columns = ColumnTransformer(
        [("numbers", "passthrough", list(range(12))), ("texts", OneHotEncoder(sparse_output=False), [12, 13, 14, 15])]
    )
    model = Pipeline([("columns", columns), ("model", GradientBoostingClassifier(max_depth=4, random_state=1))])
    model.fit(frame, (frame[:, 0] + frame[:, 1] ** 2 > 1).astype(np.int64))
    types = [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    types += [(name, StringTensorType([None, 1])) for name in TEXTS]
    numbers = [TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1)) for name in NUMBERS]
    texts = [TensorSpec(name=name, datatype=Datatype.BYTES, shape=(-1, 1)) for name in TEXTS]
    values = [{"name": name, "shape": [1, 1], "datatype": "FP32", "data": [0.25]} for name in NUMBERS]
    values += [{"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [LEVELS[3]]} for name in TEXTS]
    return Workload(
        to_onnx(model, initial_types=types, options={"zipmap": False}).SerializeToString(),
        Signature(inputs=(*numbers, *texts), outputs=OUTPUTS, score="probabilities"),
        Contract(
            columns=(
                *(ColumnRule(name=name, kind=Kind.FLOAT, low=-10, high=10) for name in NUMBERS),
                *(ColumnRule(name=name, kind=Kind.STR, levels=LEVELS) for name in TEXTS),
            )
        ),
        json.dumps({"inputs": values}).encode(),
        {name: np.array([[0.25]], np.float32) for name in NUMBERS}
        | {name: np.array([[LEVELS[3]]], object) for name in TEXTS},
    )


def in_json(work: Workload, deployment: str = "flights") -> bytes:
    return over_http(work.body, path=f"/v2/models/{deployment}/infer")


def in_binary(work: Workload) -> bytes:
    """The plain row as a binary tensor, answered in binary."""
    blob = np.asarray(work.feed["x"], np.float32).tobytes()
    size = {"binary_data_size": len(blob)}
    tensor = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "parameters": size}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return over_http(text + blob, f"inference-header-content-length: {len(text)}\r\n")


def in_mlflow(work: Workload) -> bytes:
    """The plain row as MLflow's scoring server has it."""
    body = json.dumps({"inputs": {name: rows.tolist() for name, rows in work.feed.items()}}).encode()
    return over_http(body, path="/invocations")


def in_grpc(work: Workload) -> bytes:
    """The plain row as raw contents."""
    request = MESSAGES["ModelInferRequest"](model_name="flights")
    request.inputs.add(name="x", datatype="FP32", shape=[1, WIDTH])
    request.raw_input_contents.append(np.asarray(work.feed["x"], np.float32).tobytes())
    message: bytes = request.SerializeToString()
    return message


def over_http(
    body: bytes, headers: str = "content-type: application/json\r\n", path: str = "/v2/models/flights/infer"
) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body
