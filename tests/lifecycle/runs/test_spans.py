"""What spans say of their trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.lifecycle.runs.spans import summary, tags_of, usage, written_ns
from headway.lifecycle.runs.traces import Span

ROOT = Span(request="tr-1", id="a", name="root", started_ns=2_000_000_000, ended_ns=5_000_000_000, asked="q")


def span(identifier: str, parent: str = "a", **rest: object) -> Span:
    return Span(request="tr-1", id=identifier, parent=parent, **{"started_ns": 3, "ended_ns": 4, **rest})


def test_a_trace_without_its_root_goes_on() -> None:
    child = span("b", started_ns=1_500_000_000, ended_ns=1_600_000_000)
    found = summary("tr-1", {}, [child])
    assert (found["state"], found["request_time"]) == ("IN_PROGRESS", "1970-01-01T00:00:01.500000000Z")
    assert tags_of([child]) == {}
    found = summary("tr-1", found, [child, ROOT])
    assert (found["state"], found["execution_duration"], found["request_preview"]) == ("OK", "3.500000000s", "q")
    assert tags_of([child, ROOT]) == {"mlflow.traceName": "root"}
    assert summary("tr-1", {}, [ROOT.but(state="ERROR")])["state"] == "ERROR"
    assert summary("tr-1", {}, [ROOT.but(ended_ns=0)])["state"] == "IN_PROGRESS"
    assert summary("tr-1", {"a": 1}, []) == {"a": 1, "trace_id": "tr-1"}


def test_tokens_are_counted_once() -> None:
    spans = [
        ROOT,
        span("b", usage={"input_tokens": 10}),
        span("c", "b", usage={"input_tokens": 4}),
        span("d", "c", usage={"input_tokens": 3}),
        span("e", usage={"input_tokens": 5, "output_tokens": 1}),
    ]
    assert usage(spans) == {"input_tokens": 15, "output_tokens": 1}
    found = summary("tr-1", {"trace_metadata": {"kept": "1"}}, [*spans, span("f", metadata={"kept": "2", "new": "3"})])
    assert found["trace_metadata"] == {
        "kept": "1", "new": "3", "mlflow.trace.tokenUsage": '{"input_tokens":15,"output_tokens":1}',
    }  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcdef")), max_size=6))
def test_spans_in_a_circle_come_to_an_end(pairs: list[tuple[str, str]]) -> None:
    spans = [span(identifier, parent, usage={"n": 1}) for identifier, parent in dict(pairs).items()]
    assert usage(spans).get("n", 0) <= len(spans)


@pytest.mark.parametrize(
    ("ns", "written"),
    [
        (0, "1970-01-01T00:00:00Z"), (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        ((1 << 63) - 1, "2262-04-11T23:47:16.854775807Z"),
    ],
)  # fmt: skip
def test_times_keep_their_nanoseconds(ns: int, written: str) -> None:
    assert written_ns(ns) == written
