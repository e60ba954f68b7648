"""Calls over gRPC that one turn answers together: to the byte what each would be answered alone, and captured alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.capture.exchange import Answered
from headway.serving.counters import ServerCounters
from headway.serving.grpc.dialect import GrpcInference
from headway.serving.grpc.messages import MESSAGES
from headway.serving.inference import Inference
from headway.serving.loaded import LoadedTable
from headway.serving.messages import Answer, Head
from tests.serving.test_turn import ROWS, TABLES, WIDTH, Sink
from tests.serving.test_turn import together as put_off_together
from tests.serving.test_turn import usual as in_json

Asked = tuple[Any, Head]


def together(table: LoadedTable, asked: list[Asked], sink: Sink) -> tuple[list[Answer], ServerCounters]:
    bodies = [(request.SerializeToString(), head) for request, head in asked]
    return put_off_together(table, bodies, sink, dialects=[GrpcInference(request) for request, _ in asked])


def alone(table: LoadedTable, asked: list[Asked], sink: Sink) -> tuple[list[Answer], ServerCounters]:
    counters = ServerCounters()
    inference = Inference(counters, sink)
    told = [inference.answer(table, each.SerializeToString(), head, GrpcInference(each)) for each, head in asked]
    return told, counters


def request(row: list[float], *, raw: bool, datatype: str = "FP32", name: str = "x", shape: Any = (1, WIDTH)) -> Any:
    asked = MESSAGES["ModelInferRequest"](model_name="50%", id="a")
    tensor = asked.inputs.add(name=name, datatype=datatype, shape=shape)
    if raw:
        asked.raw_input_contents.append(np.array(row, np.float32).tobytes())
    else:
        tensor.contents.fp32_contents.extend(row)
    return asked


NUMBER = st.floats(-11, 11, width=32)
ROW = st.lists(NUMBER, min_size=WIDTH, max_size=WIDTH)
ODD_ROW = st.lists(NUMBER | st.sampled_from([float("nan"), float("inf"), -0.0]), min_size=WIDTH - 1, max_size=WIDTH + 1)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from([{"string_param": "k"}, {"int64_param": 7}, {"bool_param": True}]),
        "binary_data_output": st.just({"bool_param": True}),
        "timeout": st.just({"int64_param": 10**9}),
        "event_at": st.just({"string_param": "2020-01-01T00:00:00Z"}),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    usual, raw = draw(st.booleans()), draw(st.booleans())
    more: dict[str, Any] = {}
    if not usual:
        more = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": st.sampled_from(["x", "y"]),
                    "shape": st.sampled_from([[1, WIDTH], [WIDTH], [2, 2], []]),
                    "datatype": st.sampled_from(["FP32", "FP64", "INT32", "BYTES", "nix"]),
                },
            )
        )
    asked = request(draw(ROW if usual else ODD_ROW), raw=raw, **more)
    asked.id = draw(st.text(min_size=1, max_size=8) | st.just("\u20ac" * 250))
    if not usual and draw(st.booleans()):
        asked.inputs[0].contents.int_contents.append(1)
    for name, choice in (draw(PARAMETERS) if not usual else {}).items():
        for field, value in choice.items():
            setattr(asked.parameters[name], field, value)
    if draw(st.integers(0, 9)) == 0:
        asked.outputs.add(name="label")
    version = draw(st.sampled_from(["", "", "1", "9"])) if not usual else ""
    return asked, Head(key=draw(st.sampled_from([b"", b"caller"])), version=version)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(TABLES)), st.lists(requests(), min_size=1, max_size=9))
def test_together_as_alone(name: str, asked: list[Asked]) -> None:
    table, sinks = TABLES[name], (Sink(), Sink())
    (mine, counted), (other, expected) = together(table, asked, sinks[0]), alone(table, asked, sinks[1])
    assert mine == other
    assert {answer.status for answer in mine} <= {200, 400, 404, 422, 500}
    rows = [sorted(repr(row) for row in sink.rows() if row["_error"] is None or row["_fallback"]) for sink in sinks]
    assert rows[0] == rows[1]
    for release, counters in expected.releases.items():
        assert counted.releases[release].statuses == counters.statuses
        assert counted.releases[release].rows == counters.rows


def test_raw_typed_and_json_share_a_run_only_with_their_like() -> None:
    sink = Sink()
    asked = [(request(row, raw=raw), Head()) for raw in (True, False) for row in ROWS]
    answers, counters = together(TABLES["trees"], asked, sink)
    assert [answer.status for answer in answers] == [200, 200, 422, 200] * 2
    assert [kept.rows for kept in sink.kept if isinstance(kept, Answered)] == [3, 3]
    assert counters.releases["rl_0"].statuses == {200: 6, 422: 2}


def test_it_says_what_is_said_over_http() -> None:
    """Also the ids that the server gives, and the rows of a call are captured as those of a POST."""
    sinks = Sink(), Sink()
    asked = [(request(row, raw=True), Head()) for row in ROWS]
    for each, _ in asked:
        each.id = ""
    answers, _ = together(TABLES["trees"], asked, sinks[0])
    inference = Inference(ServerCounters(), sinks[1])
    for body, head in in_json(*ROWS):
        inference.answer(TABLES["trees"], body, head)
    rows = [[(row["x_0"], row["_score"]) for row in sink.rows() if row["_status"] == 200] for sink in sinks]
    assert sorted(rows[0]) == sorted(rows[1])
    told = [MESSAGES["ModelInferResponse"].FromString(answer.body) for answer in answers if answer.status == 200]
    assert len({each.id for each in told}) == 3
    assert sorted(row["_request"] for row in sinks[0].rows() if row["_status"] == 200) == sorted(e.id for e in told)
    scores = [np.frombuffer(each.raw_output_contents[1], "<f4")[1] for each in told]
    assert sorted(scores) == pytest.approx(sorted(score for _, score in rows[0]))


def test_one_whose_key_is_missing_keeps_nobody_from_a_shared_run(caplog: pytest.LogCaptureFixture) -> None:
    sink, table = Sink(), TABLES["feature"]
    rows = [[0.5, 7.0, 0.0, 0.0], [0.5, float("nan"), 0.0, 0.0], [1.5, 7.0, 0.0, 0.0]]
    answers, _ = together(table, [(request(row, raw=False), Head()) for row in rows], sink)
    assert [answer.status for answer in answers] == [200, 422, 200]
    assert [kept.rows for kept in sink.kept if isinstance(kept, Answered)] == [2]
    assert not caplog.records


def test_a_row_without_a_number_is_none_that_fails_a_turn(caplog: pytest.LogCaptureFixture) -> None:
    """It is left to the general way, and so are no others for its sake."""
    asked = [(request(row, raw=False), Head()) for row in ([float("nan")] * WIDTH, [1.0] * WIDTH)]
    for part in (asked[:1], asked):
        sink = Sink()
        together(TABLES["trees"], part, sink)
        assert sum(isinstance(each, Answered) for each in sink.kept) == len(part) - 1
    assert "turn failed" not in caplog.text
