"""What one turn answers together is, to the byte, what each request would be answered alone, and is captured alike."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from headway.engines.models.operators import scores_row_by_row
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.lifecycle.rollouts.limits import Limits
from headway.lifecycle.rollouts.routing import FallbackRoute, Route, RoutingTable, ShadowRoute
from headway.lifecycle.rollouts.sampling import Sampling
from headway.lifecycle.rollouts.sticky import Sticky
from headway.serving.capture.answered import Answered, JoinedIds
from headway.serving.capture.columns import double_lists
from headway.serving.capture.exchange import Kept
from headway.serving.capture.segments import segment
from headway.serving.counters import ServerCounters
from headway.serving.inference import Inference
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.messages import Answer, Head
from headway.serving.quick import QuickDialect, quick_route
from headway.serving.responder import OPEN
from headway.serving.runtimes.inline import OnnxRuntime
from headway.serving.turn import Turn
from tests.serving.conftest import StartServer
from tests.serving.processes import Blobs

WIDTH = 4
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, WIDTH)),),
    outputs=(
        TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
        TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 2)),
    ),
    score="probabilities",
)
CONTRACT = Contract(columns=tuple(ColumnRule(name=f"x_{at}", kind=Kind.FLOAT, low=-10, high=10) for at in range(WIDTH)))
CLASSIFIED = Signature(
    inputs=SIGNATURE.inputs,
    outputs=(SIGNATURE.outputs[0], TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 3))),
    score="probabilities",
    classes=(0, 1, 2),
)
NAMED = SIGNATURE.but(inputs=(SIGNATURE.inputs[0].but(features=("x_2", "a", "x_3", "b")),))
"""Some of the same features, at other places."""
TIGHT = Contract(columns=(ColumnRule(name="x_3", kind=Kind.FLOAT, low=-5, high=5, default=2.5),))
CONSTANT = {"label": 1, "probabilities": [0.25, 0.75]}
TIMES = ("_received_at", "_event_at", "_latency_us")


def trained(kind: Any, seed: int = 1, classes: int = 2) -> bytes:
    rows = np.random.default_rng(seed).normal(size=(300, WIDTH)).astype(np.float32)
    model = kind.fit(rows, np.clip(rows[:, 0] + rows[:, 1] ** 2, 0, classes - 1).astype(np.int64))
    types = [("x", FloatTensorType([None, WIDTH]))]
    made: bytes = to_onnx(model, initial_types=types, options={"zipmap": False}).SerializeToString()
    return made


TREES = trained(GradientBoostingClassifier(n_estimators=20, random_state=1))
OTHER_TREES = trained(GradientBoostingClassifier(n_estimators=10, random_state=2), seed=2)
LINEAR = trained(LogisticRegression())
CLASS_TREES = trained(GradientBoostingClassifier(n_estimators=5, random_state=1), classes=3)


def failing() -> bytes:
    """Looks up its answers by the first feature, and fails where that is below -8 or from 8 on."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
            helper.make_node("Cast", ["column"], ["at"], to=TensorProto.INT64),
            helper.make_node("Gather", ["labels", "at"], ["label"], axis=0),
            helper.make_node("Gather", ["chances", "at"], ["probabilities"], axis=0),
        ],
        "failing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor("first", TensorProto.INT64, [], [0]),
            helper.make_tensor("labels", TensorProto.INT64, [8], [at % 2 for at in range(8)]),
            helper.make_tensor("chances", TensorProto.FLOAT, [8, 2], [at / 16 for at in range(16)]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


FAILING = failing()


def loaded(
    model: bytes, release: str, percent: int, signature: Signature = SIGNATURE, contract: Contract | None = CONTRACT
) -> LoadedRoute:
    route = Route(
        release=release, model="m", version=1, blob="", signature=signature, percent=percent, contract=contract
    )
    return LoadedRoute(route, OnnxRuntime(model, signature))


def table_of(*models: bytes, **options: Any) -> LoadedTable:
    routes = tuple(loaded(model, f"rl_{at}", 100 // len(models)) for at, model in enumerate(models))
    table = RoutingTable(deployment="50%", generation=1, routes=tuple(each.route for each in routes), **options)
    return LoadedTable(table, routes)


def keyed_by(feature: str, *routes: LoadedRoute) -> LoadedTable:
    table = RoutingTable(
        deployment="50%", generation=1, routes=tuple(each.route for each in routes), sticky=Sticky(feature=feature)
    )
    return LoadedTable(table, routes)


def table_beside(
    route: LoadedRoute, *, shadow: LoadedRoute | None = None, spare: LoadedRoute | None = None,
    constant: dict[str, Any] | None = None,
) -> LoadedTable:  # fmt: skip
    fallback = FallbackRoute(route=spare.route if spare else None, constant=constant or {})
    table = RoutingTable(
        deployment="50%", generation=1, routes=(route.route,), fallback=fallback,
        shadow=ShadowRoute(route=shadow.route, percent=100) if shadow else None,
    )  # fmt: skip
    return LoadedTable(table, (route,), shadow, spare)


TABLES = {
    "trees": table_of(TREES),
    "linear": table_of(LINEAR),
    "two": table_of(TREES, OTHER_TREES),
    "sticky": table_of(TREES, OTHER_TREES, sticky=Sticky(header="x-customer")),
    "feature": table_of(TREES, OTHER_TREES, sticky=Sticky(feature="x_1")),
    "lone feature": keyed_by("a", loaded(TREES, "rl_0", 50), loaded(OTHER_TREES, "rl_1", 50, NAMED, None)),
    "feature elsewhere": keyed_by(
        "x_3", loaded(LINEAR, "rl_0", 50, NAMED, TIGHT), loaded(TREES, "rl_1", 50, contract=None)
    ),
    "classes by feature": keyed_by(
        "x_0", loaded(CLASS_TREES, "rl_0", 50, CLASSIFIED), loaded(CLASS_TREES, "rl_1", 50, CLASSIFIED)
    ),
    "classes": table_beside(loaded(CLASS_TREES, "rl_0", 100, CLASSIFIED)),
    "failing": table_of(FAILING),
    "spare": table_beside(
        loaded(FAILING, "rl_0", 100), spare=loaded(TREES, "rl_s", 0), shadow=loaded(TREES, "rl_h", 0)
    ),
    "constant": table_beside(loaded(FAILING, "rl_0", 100), constant=CONSTANT),
}


class Sink:
    def __init__(self, inputs: tuple[TensorSpec, ...] = SIGNATURE.inputs) -> None:
        self.kept: list[Kept] = []
        self._inputs = inputs

    def add(self, exchange: Kept) -> None:
        self.kept.append(exchange)

    def rows(self) -> list[dict[str, Any]]:
        if not self.kept:
            return []
        data = segment(self.kept, self._inputs).data
        return pl.read_parquet(io.BytesIO(data)).drop(TIMES).sort("_request", maintain_order=True).to_dicts()


Asked = tuple[bytes, Head]


def together(
    table: LoadedTable,
    asked: list[Asked],
    sink: Sink,
    peers: Sequence[bytes] = (b"",),
    dialects: Sequence[QuickDialect] = (OPEN,),
) -> tuple[list[Answer], ServerCounters]:
    counters = ServerCounters()
    inference, answers, turn = Inference(counters, sink), list[Answer](), Turn()

    async def ask() -> None:
        for at, (body, head) in enumerate(asked):
            peer, dialect = peers[at % len(peers)], dialects[at % len(dialects)]
            turn.put_off((inference, table, head, body, peer, answers.append, dialect))
        assert not answers
        await asyncio.sleep(0)

    asyncio.run(ask())
    return answers, counters


def alone(table: LoadedTable, asked: list[Asked], sink: Sink) -> tuple[list[Answer], ServerCounters]:
    counters = ServerCounters()
    inference = Inference(counters, sink)
    return [inference.answer(table, body, head) for body, head in asked], counters


def binary(text: dict[str, Any], blob: bytes, **head: Any) -> Asked:
    body = json.dumps(text).encode()
    return body + blob, Head(json_size=b"%d" % len(body), **head)


NUMBER = st.floats(-11, 11, width=32) | st.integers(-11, 11)
ODD = st.sampled_from([None, True, "1", 1e39, 1e400, 2**70, [1.0], -0.0, 10.000001])
ROW = st.lists(NUMBER, min_size=WIDTH, max_size=WIDTH)
ODD_ROW = st.lists(NUMBER | ODD, min_size=WIDTH - 1, max_size=WIDTH + 1)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.text(max_size=5) | st.integers(),
        "binary_data_output": st.booleans(),
        "timeout": st.just(10**9),
        "prediction_ids": st.just(["p"]),
        "event_at": st.just("2020-01-01T00:00:00Z"),
        "unknown": st.just(1),
    },
)
IDS = st.text(min_size=1, max_size=8) | st.just('"\\%b%')


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    usual = draw(st.booleans())
    row = draw(ROW if usual else ROW | ODD_ROW)
    tensor: dict[str, Any] = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32"}
    if not usual:
        tensor |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": st.sampled_from(["x", "y"]),
                    "shape": st.sampled_from([[1, WIDTH], [WIDTH], [2, 2], []]),
                    "datatype": st.sampled_from(["FP32", "FP64", "INT32", "BYTES"]),
                },
            )
        )
    text: dict[str, Any] = {"id": draw(IDS), "inputs": [tensor]}
    if parameters := draw(PARAMETERS if not usual else st.just({})):
        text["parameters"] = parameters
    if draw(st.integers(0, 9)) == 0:
        text["outputs"] = [{"name": "label"}]
    head = Head(key=draw(st.sampled_from([b"", b"caller"])), accept_encoding=draw(st.sampled_from([b"", b"gzip"])))
    head.named = draw(st.none() | st.fixed_dictionaries({b"x-customer": st.sampled_from([b"", b"a", b"b", b"c\xe9"])}))
    if draw(st.booleans()):
        try:
            blob = np.array(row, np.float32).tobytes()
        except (TypeError, ValueError, OverflowError):
            blob = b"\x00\x00\xc0\x7f" * WIDTH
        tensor["parameters"] = {"binary_data_size": len(blob)}
        return binary(text, blob + draw(st.sampled_from([b"", b"", b"", b"x"])), key=head.key, named=head.named)
    tensor["data"] = row
    return json.dumps(text).encode(), head


ASKED = st.lists(requests() | st.tuples(st.binary(max_size=20), st.builds(Head)), min_size=1, max_size=9)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(TABLES)), ASKED)
def test_together_as_alone(name: str, asked: list[Asked]) -> None:
    table, sinks = TABLES[name], (Sink(), Sink())
    (mine, counted), (other, expected) = together(table, asked, sinks[0]), alone(table, asked, sinks[1])
    for (body, _), answer, told in zip(asked, mine, other, strict=True):
        assert answer.status in (200, 400, 422) or (name == "failing" and answer.status == 500), body
        if b'"id"' in body:
            assert answer == told, body
    rows = [sorted(repr(row) for row in sink.rows() if row["_error"] is None or row["_fallback"]) for sink in sinks]
    assert rows[0] == rows[1]
    for release, counters in expected.releases.items():
        assert counted.releases[release].statuses == counters.statuses
        assert counted.releases[release].rows == counters.rows
        assert counted.releases[release].fallbacks == counters.fallbacks


@pytest.mark.filterwarnings("ignore:overflow encountered")
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(TABLES)), requests()), min_size=1, max_size=20))
def test_any_mix_of_models_in_one_turn_as_one_by_one(mix: list[tuple[str, Asked]]) -> None:
    answers, turn = dict[int, Answer](), Turn()
    sinks = {name: (Sink(), Sink()) for name, _ in mix}
    inferences = {name: Inference(ServerCounters(), mine) for name, (mine, _) in sinks.items()}

    async def ask() -> None:
        for place, (name, (body, head)) in enumerate(mix):
            tell = partial(answers.__setitem__, place)
            turn.put_off((inferences[name], TABLES[name], head, body, b"", tell, OPEN))
        await asyncio.sleep(0)

    asyncio.run(ask())
    assert list(answers) == list(range(len(mix)))
    assert list(answers.values()) == [alone(TABLES[name], [asked], sinks[name][1])[0][0] for name, asked in mix]
    for mine, other in sinks.values():
        rows = [sorted(repr(row) for row in each.rows() if row["_error"] is None) for each in (mine, other)]
        assert rows[0] == rows[1]


def usual(*rows: list[float], **more: Any) -> list[Asked]:
    tensor = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32"}
    return [(json.dumps({"inputs": [tensor | {"data": row}], **more}).encode(), Head()) for row in rows]


ROWS: list[list[float]] = [[0.5, 1.0, -1.0, 2.0], [1, 2, 3, 4], [11, 0, 0, 0], [-3.25, 0, 0, 1]]


def test_usual_requests_share_a_run_and_ids_of_their_own_differ() -> None:
    sink = Sink()
    answers, counters = together(TABLES["trees"], usual(*ROWS), sink)
    assert [answer.status for answer in answers] == [200, 200, 422, 200]
    [shared] = [kept for kept in sink.kept if isinstance(kept, Answered)]
    assert shared.rows == 3
    told = [json.loads(answer.body)["id"] for answer in answers if answer.status == 200]
    assert len(set(told)) == 3
    assert told == list(shared.ids)
    assert isinstance(shared.ids, JoinedIds)
    assert counters.releases["rl_0"].statuses == {200: 3, 422: 1}
    assert counters.releases["rl_0"].rows == 3


def test_one_alone_in_its_turn_is_answered_as_in_a_full_one() -> None:
    for name in ("trees", "linear", "two"):
        sink = Sink()
        answers, _ = together(TABLES[name], usual(ROWS[0]), sink)
        assert [answer.status for answer in answers] == [200]
        [kept] = sink.kept
        assert isinstance(kept, Answered)
        assert sink.rows()[0]["x_0"] == ROWS[0][0]


def test_a_row_alone_is_not_what_the_next_one_was() -> None:
    """Each run overwrites the outputs of the one before, which nobody may still read."""
    sink, [route] = Sink(), TABLES["trees"].routes
    for row in ROWS[0], ROWS[3]:
        together(TABLES["trees"], usual(row), sink)
    kept = [each for each in sink.kept if isinstance(each, Answered)]
    for row, each in zip((ROWS[0], ROWS[3]), kept, strict=True):
        feed = {"x": np.array([row], np.float32)}
        assert each.numbers.tolist() == feed["x"].tolist()
        assert each.scores.tolist() == route.scores(route.runtime.run(feed), 1)


def test_a_model_whose_outputs_are_not_as_declared_has_no_places_for_them() -> None:
    route = TABLES["failing"].routes[0]
    assert isinstance(route.runtime, OnnxRuntime)
    assert route.runtime.single_row(SIGNATURE) is not None
    wide = TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 3))
    assert route.runtime.single_row(SIGNATURE.but(outputs=(SIGNATURE.outputs[0], wide))) is None


def test_only_models_of_exact_operators_share_a_run() -> None:
    assert scores_row_by_row(TREES)
    assert not scores_row_by_row(LINEAR)
    assert TABLES["trees"].routes[0].together
    assert not TABLES["linear"].routes[0].together


def test_several_classes_are_told_in_the_general_way() -> None:
    table, sink = TABLES["classes"], Sink()
    assert table.routes[0].together
    assert quick_route("50%", table.routes[0]) is None
    answers, _ = together(table, usual(*ROWS), sink)
    assert [answer.status for answer in answers] == [200, 200, 422, 200]
    for row in sink.rows():
        if row["_status"] == 200:
            assert row["_score"] == max(row["_probabilities"])
            assert row["_label"] == str(row["_probabilities"].index(row["_score"]))
            assert len(row["_probabilities"]) == 3
        else:
            assert (row["_label"], row["_probabilities"], row["_mirror_probabilities"]) == (None, None, None)


def test_a_row_that_fails_its_run_is_answered_by_what_stands_in_and_the_others_are_not() -> None:
    assert TABLES["spare"].routes[0].together
    rows = [[0, 1, 1, 1], [9.0, 1, 1, 1], [1, 1, 1, 1]]
    asked = [usual(row, id=f"{at}")[0] for at, row in enumerate(rows)]
    for name, by, score in (("spare", "rl_s", None), ("constant", "constant", 0.75)):
        sink = Sink()
        answers, counters = together(TABLES[name], asked, sink)
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert [dict(answer.headers).get(b"headway-fallback") for answer in answers] == [None, by.encode(), None]
        assert counters.releases["rl_0"].fallbacks == {by: 1}
        kept = sink.rows()
        assert [row["_fallback"] for row in kept] == [None, by, None]
        assert [row["_release"] for row in kept] == ["rl_0"] * 3
        mirror = "rl_h" if name == "spare" else None
        assert [row["_mirror_release"] for row in kept] == [mirror, None, mirror]
        assert score in (None, kept[1]["_score"])


def test_rows_that_share_a_run_are_captured_beside_one_that_something_else_answered() -> None:
    """Also in one segment, whose columns are the same for both."""
    sink = Sink()
    together(TABLES["spare"], usual(*ROWS[:2]), sink)
    assert isinstance(sink.kept[0], Answered)
    together(TABLES["spare"], usual([9.0, 0, 0, 0]), sink)
    kept = sink.rows()
    assert sorted(row["_fallback"] or "" for row in kept) == ["", "", "rl_s"]
    assert sorted(row["_mirror_release"] or "" for row in kept) == ["", "rl_h", "rl_h"]


def test_one_connection_is_told_in_order_which_of_its_answers_another_gave(
    start_server: StartServer, blobs: Blobs
) -> None:
    [failing, spare] = [
        Route(release=release, model="m", version=1, blob=blobs.put(model), signature=SIGNATURE, percent=percent)
        for release, model, percent in (("rl_f", FAILING, 100), ("rl_s", TREES, 0))
    ]
    table = RoutingTable(deployment="flights", generation=1, routes=(failing,), fallback=FallbackRoute(route=spare))
    server = start_server(table)
    bodies = [usual([at * 3.0, 0, 0, 0], id=f"t-{at}")[0][0] for at in range(6)]
    head = b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n"
    ends = [b""] * 5 + [b"connection: close\r\n"]
    sent = b"".join(head % (end, len(body)) + body for end, body in zip(ends, bodies, strict=True))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(sent)
        answers = b"".join(iter(lambda: line.recv(65536), b"")).split(b"HTTP/1.1 ")[1:]
    assert [int(answer[:3]) for answer in answers] == [200] * 6
    assert [re.findall(rb'"id":"([^"]+)"', answer)[0] for answer in answers] == [b"t-%d" % at for at in range(6)]
    told = [re.findall(rb"headway-fallback: (\S+)", answer) for answer in answers]
    assert told == [[], [], [], [b"rl_s"], [b"rl_s"], [b"rl_s"]]
    kept = server.rows().sort("_request")
    assert kept["_fallback"].to_list() == [None] * 3 + ["rl_s"] * 3
    assert kept["_release"].to_list() == ["rl_f"] * 6
    counted = server.status()["releases"]["rl_f"]
    assert (counted["statuses"], counted["fallbacks"]) == ({"200": 6}, {"rl_s": 3})


@given(st.lists(st.none() | st.lists(st.floats(allow_nan=False), max_size=4), min_size=1, max_size=9))
def test_lists_of_doubles_come_back(lists: list[list[float] | None]) -> None:
    assert pl.Series(double_lists(lists)).to_list() == lists


@given(st.binary(max_size=60), st.integers(0, 400))
def test_bytes_that_are_no_model_are_in_doubt(junk: bytes, at: int) -> None:
    assert not scores_row_by_row(junk)
    scores_row_by_row(TREES[:at] + junk + TREES[at:])  # whatever it says, it says it without an error


def test_the_door_is_asked_before() -> None:
    table = table_of(TREES, limits=Limits(requests_per_s=1, burst=2))
    sink = Sink()
    answers, _ = together(table, usual(*ROWS), sink)
    assert [answer.status for answer in answers] == [200, 200, 429, 429]
    table = table_of(TREES, limits=Limits(caller_requests_per_s=1, caller_burst=1))
    answers, _ = together(table, usual(*ROWS), sink, peers=(b"1.1.1.1", b"2.2.2.2"))
    assert [answer.status for answer in answers] == [200, 200, 429, 429]
    late = [(body, Head(deadline=b"0", arrived_ns=1)) for body, _ in usual(*ROWS[:2])]
    assert [answer.status for answer in together(TABLES["trees"], late, sink)[0]] == [504, 504]


def test_sampling_takes_the_same_requests() -> None:
    table = table_of(TREES, capture=Sampling(share=0.5))
    rows = [[float(at % 7), 0.0, 0.0, 0.0] for at in range(40)]
    asked = [usual(row, id=f"{at}")[0] for at, row in enumerate(rows)]
    sinks = (Sink(), Sink())
    counted, expected = together(table, asked, sinks[0])[1], alone(table, asked, sinks[1])[1]
    assert 0 < expected.releases["rl_0"].unsampled == counted.releases["rl_0"].unsampled
    assert sinks[0].rows() == [row for row in sinks[1].rows() if row["_sampled"]]


def test_one_whose_client_is_gone_costs_nobody_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    answers, turn = list[Answer](), Turn()
    inference = Inference(ServerCounters(), Sink())

    def gone(_: Answer) -> None:
        raise RuntimeError("the transport is closed")

    async def ask() -> None:
        for tell, (body, head) in zip((gone, answers.append), usual(*ROWS[:2]), strict=True):
            turn.put_off((inference, TABLES["trees"], head, body, b"", tell, OPEN))
        await asyncio.sleep(0)

    asyncio.run(ask())
    assert [answer.status for answer in answers] == [200]
    assert "answer not sent" in caplog.text
