"""Requests that are sticky by a feature are answered together, by the keys that the general way reads."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.serving.capture.answered import Answered
from headway.serving.loaded import LoadedTable
from headway.serving.messages import Head
from tests.serving.test_turn import TABLES, Asked, Sink, alone, keyed_by, loaded, together, usual

SHAPES = {"a": (-1, 1), "b": (-1,), "c": (-1, 2)}


def in_three(datatype: Datatype, element: int) -> LoadedTable:
    """Two releases of a model with three tensors, sticky by the last feature of the last one."""
    inputs = tuple(TensorSpec(name=name, datatype=datatype, shape=shape) for name, shape in SHAPES.items())
    output = TensorSpec(name="y", datatype=datatype, shape=(-1, 2))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["y"])],
        "same",
        [helper.make_tensor_value_info(name, element, [None, *shape[1:]]) for name, shape in SHAPES.items()],
        [helper.make_tensor_value_info("y", element, [None, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    signature = Signature(inputs=inputs, outputs=(output,), score="y")
    return keyed_by("c_1", *(loaded(model, f"rl_{at}", 50, signature, None) for at in range(2)))


IN_THREE = {"<f4": in_three(Datatype.FP32, TensorProto.FLOAT), "<f8": in_three(Datatype.FP64, TensorProto.DOUBLE)}
ODD = ["-0", "0", "-0.0", "1e-50", "16777217", "9007199254740993", "3.40282356e38", "1e39", "1e400", "null", "true"]
PLAIN = st.floats(-1000, 1000).map(repr) | st.integers(-1000, 1000).map(str)
NUMBER = PLAIN | st.sampled_from(ODD) | st.floats(allow_nan=False).map(json.dumps) | st.integers(-(2**70)).map(str)
NUMBERS = st.lists(PLAIN, min_size=4, max_size=4) | st.lists(NUMBER, min_size=4, max_size=4)


def asked(datatype: str, kind: str, numbers: list[str], identifier: str, *, in_binary: bool) -> Asked:
    """Four numbers, as they are written."""
    tensors = [{"name": name, "shape": [1, *shape[1:]], "datatype": datatype} for name, shape in SHAPES.items()]
    parts, blobs = {"a": numbers[:1], "b": numbers[1:2], "c": numbers[2:]}, b""
    for tensor, part in zip(tensors, parts.values(), strict=True):
        if in_binary:
            blob = np.array([float({"null": "nan", "true": "1"}.get(each, each)) for each in part]).astype(kind)
            tensor["parameters"] = {"binary_data_size": blob.nbytes}
            blobs += blob.tobytes()
        else:
            tensor["data"] = tensor["name"]
    body = json.dumps({"id": identifier, "inputs": tensors})
    for name, part in parts.items():
        body = body.replace(f'"data": "{name}"', f'"data": [{", ".join(part)}]')
    return body.encode() + blobs, Head(json_size=b"%d" % len(body) if in_binary else b"")


@pytest.mark.filterwarnings("ignore:overflow encountered")
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(IN_THREE)), st.lists(st.tuples(NUMBERS, st.booleans()), min_size=1, max_size=6))
def test_a_feature_is_the_same_key_however_it_is_written(kind: str, rows: list[tuple[list[str], bool]]) -> None:
    table = IN_THREE[kind]
    inputs = table.routes[0].route.signature.inputs
    sent = [
        asked(inputs[0].datatype, kind, numbers, f"r-{at}", in_binary=in_binary)
        for at, (numbers, in_binary) in enumerate(rows)
    ]
    sinks = Sink(inputs), Sink(inputs)
    mine, other = together(table, sent, sinks[0])[0], alone(table, sent, sinks[1])[0]
    said = [[each for each in answers if b'"r-' in each.body] for answers in (mine, other)]
    assert said[0] == said[1]
    assert [each.status for each in mine] == [each.status for each in other]
    kept = [[repr(row) for row in sink.rows() if row["_error"] is None] for sink in sinks]
    assert kept[0] == kept[1]


def test_they_share_runs_by_release() -> None:
    sink, table = Sink(), TABLES["feature"]
    rows = [[at / 4, value, 0.0, 0.0] for at in range(4) for value in (0.1, 7.0, -3.5, 2.25)]
    answers, _ = together(table, usual(*rows), sink)
    keys = [str(np.float32(value).item()) for _, value, *_ in rows]
    wanted = [table.choose(key).route.release for key in keys]
    assert len(set(wanted)) == 2
    assert [json.loads(answer.body)["parameters"]["release"] for answer in answers] == wanted
    shared = [kept for kept in sink.kept if isinstance(kept, Answered)]
    assert {each.release: each.rows for each in shared} == {each: wanted.count(each) for each in wanted}
    assert sorted(str(key) for each in shared for key in each.own_keys or ()) == sorted(keys)


def test_a_key_of_their_own_goes_before() -> None:
    table = TABLES["feature"]
    [(body, _)] = usual([0.5, 7.0, 0, 0], id="x")
    [(named, _)] = usual([0.5, 7.0, 0, 0], id="x", parameters={"key": "k2"})
    found: list[Any] = []
    for sent in ((body, Head()), (body, Head(key=b"k1")), (named, Head(key=b"k1"))):
        sink = Sink()
        together(table, [sent], sink)
        [kept] = sink.kept
        assert isinstance(kept, Answered)
        found += [(kept.release, *(kept.own_keys or ()))]
    assert found == [(table.choose(key).route.release, key) for key in ("7.0", "k1", "k2")]
