"""Reading of tensors: whatever comes, the answer is a batch or an error that names what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headway.errors import BadTensor, ContractBroken, Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract, request_violations
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.serving.capture.exchange import Exchange
from headway.serving.capture.segments import segment
from headway.serving.counters import ServerCounters
from headway.serving.dialects.protocol import Tensor, decode
from headway.serving.inference import Inference
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.tensors import Feed, Inputs, RowRules, Rule
from tests.serving.processes import CONTRACT, SIGNATURE, request

INPUTS = Inputs(SIGNATURE, CONTRACT)
PLAIN = [70.0, "UA", None, True, 2**70, -1, 0.5, [], [1.0], {}, "FP32", "temp"]
VALUES = st.sampled_from(PLAIN) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.integers()
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


class Zeros:
    """A runtime that gives every row the same answer."""

    def run(self, feed: Feed) -> list[NDArray[Any]]:
        rows = len(feed["temp"])
        return [np.zeros(rows, np.int64), np.zeros((rows, 2), np.float32)]


class Sink:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


def loaded_table() -> LoadedTable:
    route = Route(
        release="rl_a", model="late", version=1, blob="", signature=SIGNATURE, percent=100, contract=CONTRACT
    )  # fmt: skip
    table = RoutingTable(deployment="flights", generation=1, routes=(route,))
    return LoadedTable(table, (LoadedRoute(route, Zeros()),))


TABLE = loaded_table()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a JSON value."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


FULL = request(
    [70.0, 80.0],
    ["UA", "AA"],
    id="i",
    outputs=[{"name": "label"}],
    parameters={"key": "k", "event_at": "2013-01-01T00:00:00Z", "prediction_ids": ["a", "b"]},
)
PATHS = [path for path in places(FULL) if path]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A good request with one to three of its parts replaced."""
    body = json.loads(json.dumps(FULL))
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(PATHS))
        target = body
        try:
            for key in parents:
                target = target[key]
            target[last] = draw(JSON)
        except (TypeError, KeyError, IndexError):
            continue
    return body


@settings(max_examples=400, deadline=None)
@given(st.one_of(mutated(), JSON).map(lambda body: json.dumps(body).encode()) | st.binary(max_size=50))
def test_only_these_errors(body: bytes) -> None:
    try:
        batch = INPUTS.read(decode(body).inputs)
        INPUTS.check(batch)
    except (BadTensor, ContractBroken):
        return
    assert batch.feed["temp"].shape == (batch.rows, 1)
    assert batch.feed["temp"].dtype == np.float32
    assert not np.isinf(batch.feed["temp"]).any()


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_never_an_inner_error_and_always_a_captured_row(body: Any) -> None:
    sink = Sink()
    answer = Inference(ServerCounters(), sink).answer(TABLE, json.dumps(body).encode())
    assert answer.status in (200, 400, 422)
    made = segment(sink.exchanges, SIGNATURE.inputs)
    assert made.tally.rows == sink.exchanges[0].rows


@given(
    st.lists(st.none() | st.floats(-20, 20) | st.integers(-20, 20), min_size=1, max_size=6)
    | st.lists(st.none() | st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6),
    st.none() | st.floats(-10, 10),
    st.none() | st.floats(-10, 10),
    st.sampled_from([0.0, 0.5]),
)
def test_quick_rule_is_the_contracts(values: list[Any], low: float | None, high: float | None, nulls: float) -> None:
    rule = ColumnRule(name="x", kind=Kind.FLOAT, low=low, high=high, nulls=nulls, levels=("a", "b"))
    assert Rule(rule).keeps(values) == (not request_violations(Contract(columns=(rule,)), {"x": values}))


@given(
    st.none() | st.floats(-20, 20) | st.just(math.nan) | st.integers(-20, 20),
    st.none() | st.floats(-10, 10),
    st.none() | st.floats(-10, 10),
    st.sampled_from([0.0, 0.5]),
)
def test_what_the_rules_of_a_row_let_pass_keeps_the_contract(
    value: float | None, low: float | None, high: float | None, nulls: float
) -> None:
    rule = ColumnRule(name="x", kind=Kind.FLOAT, low=low, high=high, nulls=nulls)
    rules = RowRules({"x": Rule(rule)}, frozenset(), ["x"])
    if rules.keeps((value,)):
        assert not request_violations(Contract(columns=(rule,)), {"x": [value]})


def wide(width: int, datatype: Datatype = Datatype.FP64, contract: Contract | None = None) -> Inputs:
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, width))
    return Inputs(Signature(inputs=(spec,), outputs=(), score=""), contract)


def test_one_wide_tensor() -> None:
    rule = ColumnRule(name="x_2", kind=Kind.FLOAT, high=5, nulls=0.5)
    inputs = wide(3, contract=Contract(columns=(rule,)))
    tensor = Tensor("x", [2, 3], "FP64", [[1, 2, 3], [4, 5, None]])
    batch = inputs.read([tensor])
    inputs.check(batch)
    assert inputs.by_column(batch) == {"x_0": [1, 4], "x_1": [2, 5], "x_2": [3, None]}
    assert batch.feed["x"].tolist()[0] == [1, 2, 3]
    assert math.isnan(batch.feed["x"][1, 2])
    np.testing.assert_array_equal(inputs.feed(inputs.by_column(batch))["x"], batch.feed["x"])
    with pytest.raises(ContractBroken, match="x_2"):
        inputs.check(inputs.read([Tensor("x", [1, 3], "FP64", [1, 2, 6])]))


def test_null_needs_a_contract() -> None:
    with pytest.raises(BadTensor, match="no contract"):
        wide(1).read([Tensor("x", [1, 1], "FP64", [None])])


@pytest.mark.parametrize(
    ("datatype", "good", "bad"),
    [
        (Datatype.BOOL, [True, False], [1]),
        (Datatype.INT32, [2**31 - 1, -(2**31)], [2**31]),
        (Datatype.INT64, [2**63 - 1], [-(2**63) - 1]),
        (Datatype.INT64, [0], [1.0]),
        (Datatype.FP64, [1e308, -5], [10**309]),
        (Datatype.BYTES, ["", "ü\x00"], [b""]),
    ],
)
def test_ranges(datatype: Datatype, good: list[Any], bad: list[Any]) -> None:
    inputs = wide(1, datatype)
    batch = inputs.read([Tensor("x", [len(good)], datatype, good)])
    assert batch.feed["x"].ravel().tolist() == good
    with pytest.raises(BadTensor, match="'x'"):
        inputs.read([Tensor("x", [len(bad)], datatype, bad)])


@pytest.mark.parametrize("shape", [(), (1,), (1, 3), (-1, -1), (-1, 0), (-1, 2, 2)])
def test_shapes_that_are_not_served(shape: tuple[int, ...]) -> None:
    spec = TensorSpec(name="x", datatype=Datatype.FP32, shape=shape)
    with pytest.raises(Invalid, match="'x'"):
        Inputs(Signature(inputs=(spec,), outputs=(), score=""), None)
