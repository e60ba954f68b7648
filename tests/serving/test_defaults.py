"""Features that a request lacks: filled with the contract's default in every language, marked and counted."""

from __future__ import annotations

import json
import socket
from typing import Any

import grpc
import polars as pl
import pytest

from headway.errors import BadTensor, ContractBroken, Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, checked_contract
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.serving.dialects.features import by_name, by_place, by_record
from headway.serving.dialects.protocol import Tensor
from headway.serving.grpc.messages import MESSAGES
from headway.serving.tensors import Inputs
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import CARRIERS, Server, request

TEMP = ColumnRule(name="temp", kind=Kind.FLOAT, low=-40, high=130, nulls=0.1)
CARRIER = ColumnRule(name="carrier", kind=Kind.STR, levels=CARRIERS, default="UA")
FILLING = Contract(columns=(TEMP, CARRIER))
ALL = Contract(columns=(TEMP.but(default=70), CARRIER))

BAD = [
    ({"default": "XX"}, "its default 'XX' breaks levels"),
    ({"default": 3}, "is str; its default must be, too, not 3"),
    ({"use": Use.LABEL}, "is no feature"),
    ({"kind": Kind.INT, "levels": None, "default": 1.5}, "must be, too"),
    ({"kind": Kind.INT, "levels": None, "default": True}, "must be, too"),
    ({"kind": Kind.FLOAT, "levels": None, "default": float("nan")}, "breaks nulls"),
    ({"kind": Kind.FLOAT, "levels": None, "default": float("inf")}, "default inf breaks"),
    ({"kind": Kind.FLOAT, "levels": None, "default": 3, "high": 2.0}, "breaks low/high: expected -inf to 2"),
    ({"kind": Kind.TIME, "levels": None, "default": "now"}, "must be, too"),
]


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_a_default_must_keep_the_rules_of_its_column(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        checked_contract(Contract(columns=(CARRIER.but(**changes),)))
    assert checked_contract(ALL) is ALL


def inputs(**defaults: Any) -> Inputs:
    """A model with a tensor of two numbers, one of whole numbers and one of text."""
    signature = Signature(
        inputs=(
            TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 2)),
            TensorSpec(name="n", datatype=Datatype.INT64, shape=(-1,)),
            TensorSpec(name="t", datatype=Datatype.BYTES, shape=(-1, 1)),
        ),
        outputs=(),
        score="",
    )
    kinds = {"x_0": Kind.FLOAT, "x_1": Kind.FLOAT, "n": Kind.INT, "t": Kind.STR}
    rules = tuple(ColumnRule(name=name, kind=kind, default=defaults.get(name)) for name, kind in kinds.items())
    return Inputs(signature, Contract(columns=rules))


def test_nulls_and_columns_are_filled_wherever_they_are_missing() -> None:
    model = inputs(x_1=0.5, n=7, t="x")
    tensors = [Tensor("x", [2, 2], "FP32", [[1, None], [2, 3]]), Tensor("n", [2], "INT32", [None, 4])]
    batch = model.read(tensors)
    model.check(batch)
    assert batch.cells == ([1, 2], [0.5, 3], [7, 4], ["x", "x"])
    assert batch.filled == {"x_1": [0], "n": [0], "t": [0, 1]}
    assert batch.feed["x"].tolist() == [[1, 0.5], [2, 3]]
    assert batch.feed["n"].tolist() == [7, 4]
    for other in (
        by_name(model, {"x_0": [1, 2], "x_1": [None, 3], "n": [None, 4]}),
        by_record(model, [{"x_0": 1}, {"x_0": 2, "x_1": 3, "n": 4}]),
        by_name(model, {"x": [[1, None], [2, 3]], "n": [None, 4.0], "stray": [1, 2, 3]}),
        by_place(model, [[1, None, None, None], [2, 3, 4, None]]),
    ):
        assert (other.cells, other.filled) == (batch.cells, batch.filled)


def test_one_row() -> None:
    model = inputs(x_1=0.5, n=7, t="x")
    batch = by_name(model, {"x_0": [1]})
    assert (batch.cells, batch.filled) == ((1, 0.5, 7, "x"), {"x_1": [0], "n": [0], "t": [0]})
    whole = by_name(model, {"x_0": [1], "x_1": [2], "n": [3], "t": ["y"]})
    assert (whole.cells, whole.filled) == ((1, 2, 3, "y"), {})


@pytest.mark.parametrize(
    "tensors",
    [
        [],
        [Tensor("n", [1], "INT64", [1])],  # x_0 has no default
        [Tensor("x", [10**9, 2], "FP32", [1, 2])],
        [Tensor("x", [-1, 2], "FP32", [1, 2])],
        [Tensor("x", [], "FP32", [1, 2])],
        [Tensor("x", [1, 2], "FP32", None)],
        [Tensor("x", [1, 2], "FP32", [None, 2])],
        [Tensor("x", [1, 2], "FP64", [1, None])],
        [Tensor("x", [1, 2], "FP32", [1, 2]), Tensor("stray", [1], "INT64", [1])],
        [Tensor("x", [1, 2], "FP32", [1, 2]), Tensor("x", [1, 2], "FP32", [1, 2])],
    ],
)
def test_what_no_default_mends(tensors: list[Tensor]) -> None:
    model = inputs(x_1=0.5, n=7, t="x")
    with pytest.raises((BadTensor, ContractBroken)):
        model.check(model.read(tensors))


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def filling(start_server: StartServer, table: MakeTable, port: int) -> Server:
    first = table()
    return start_server(
        first.but(routes=tuple(route.but(contract=FILLING) for route in first.routes)), "--grpc-port", str(port)
    )


def test_every_language_is_filled(filling: Server, port: int) -> None:
    server = filling
    whole, lacking = request(id="whole"), request(id="oip")
    del lacking["inputs"][1]
    assert server.infer(lacking)[1]["outputs"] == server.infer(whole)[1]["outputs"]
    assert server.infer(request(70.0, None, id="null"))[0] == 200
    said = server.call("POST", "/v1/predict/flights", {"features": {"temp": 70}, "id": "named"})
    assert said[0] == 200
    assert server.call("POST", "/v1/predict/flights", {"features": {}})[1]["fields"] == ["temp"]
    rows = {
        "dataframe_records": [{"temp": 70}, {"temp": 70, "carrier": "AA"}],
        "params": {"prediction_ids": ["m", "n"]},
    }
    assert server.call("POST", "/invocations", rows, {"content-type": "application/json"})[0] == 200
    message = MESSAGES["ModelInferRequest"](model_name="flights", id="grpc")
    message.inputs.add(name="temp", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(70)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        ask(message.SerializeToString(), timeout=20)
    kept = server.rows()
    marked = dict(zip(kept["_prediction"], kept["_filled"].to_list(), strict=True))
    filled = {"oip", "null", "named", "m", "grpc"}
    assert {name for name, features in marked.items() if features == ["carrier"]} == filled
    assert marked["whole"] is marked["n"] is None
    assert kept.filter(pl.col("_prediction").is_in(filled))["carrier"].to_list() == ["UA"] * 5
    assert server.status()["releases"]["rl_a"]["filled"] == {"carrier": 5}
    text = server.call("GET", "/metrics")[1].decode()
    assert 'headway_filled_values_total{release="rl_a",feature="carrier"} 5' in text


def test_a_default_is_described(filling: Server) -> None:
    document = json.dumps(filling.call("GET", "/v1/openapi.json")[1])
    [features] = [
        each["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["features"]
        for each in json.loads(document)["paths"].values()
    ]
    assert features["required"] == ["temp"]
    assert features["properties"]["carrier"] == {
        "type": ["string", "null"], "enum": [*CARRIERS, None], "default": "UA",
    }  # fmt: skip
