"""What holds for traces and their spans."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from headway.kernel.ids import time_sorted
from headway.lifecycle.runs.matching import fits
from headway.lifecycle.runs.search import Condition, Field, Kind, Operator
from headway.lifecycle.runs.traces import NAME_TAG, Span, Trace, TraceWalk, began_ms, metadata_of, name_of, state_of
from headway.testing.contracts.state import State


class TraceStoreContract:
    def test_spans_come_in_the_order_of_their_begin_and_the_last_word_of_each_counts(self, state: State) -> None:
        late, early = (
            Span(request="tr-1", id=f"{number:016x}", started_ns=9 - number, told={"name": "é"}) for number in (1, 2)
        )
        other = Span(request="tr-2", id=late.id, name="other")
        with state.act():
            state.stores.traces.put_spans([late, early, other])
            state.stores.traces.put_spans([])
        ended = late.but(ended_ns=12, usage={"input_tokens": 3})
        with state.act():
            state.stores.traces.put_spans([ended])
        assert state.stores.traces.spans(["tr-1", "tr-3"]) == {"tr-1": [early, ended], "tr-3": []}
        assert state.stores.traces.spans([]) == {}

    def test_a_walk_goes_by_the_begin_and_leaves_nothing_out_that_fits(self, state: State) -> None:
        store = state.stores.traces
        traces = _traces(state)
        with state.act():
            for trace in traces:
                store.put(trace)
            for trace in traces[::7]:  # what was said of it before is not found any more
                store.put(trace.but(tags={**trace.tags, "kind": "changed"}, told={**trace.told, "state": "OK"}))
            store.put(traces[3].but(deleted_at=state.clock.now()))
        kept = {trace.id: trace for trace in map(store.get, (trace.id for trace in traces)) if trace is not None}
        questions = _questions()
        for experiments, asked in ((("ex_a",), questions[:3]), (("ex_a", "ex_b"), questions), (("ex_none",), [()])):
            among = [each for each in kept.values() if each.experiment in experiments and each.deleted_at is None]
            among.sort(key=lambda trace: trace.id, reverse=True)
            for number, where in enumerate(asked):
                descending = number % 2 == 0
                wanted = [trace for trace in among if fits(trace, where, _values)]
                wanted.sort(key=_began_last if descending else began_ms)
                met = _walked(state, TraceWalk(experiments=experiments, where=where, descending=descending, limit=19))
                assert [trace for trace in met if fits(trace, where, _values)] == wanted, where
                assert len({trace.id for trace in met}) == len(met)


def _began_last(trace: Trace) -> int:
    return -began_ms(trace)


def _walked(state: State, walk: TraceWalk) -> list[Trace]:
    met: list[Trace] = []
    while stretch := state.stores.traces.walk(walk):
        assert len(stretch) <= walk.limit
        met += stretch
        walk = walk.but(behind=(began_ms(stretch[-1]), stretch[-1].id))
    return met


def _traces(state: State) -> list[Trace]:
    chance, ids = random.Random(3), time_sorted(state.clock)
    found = []
    for number in range(60):
        told: dict[str, Any] = {
            "state": chance.choice(["OK", "ERROR", 3, None]),
            "trace_metadata": {"session": chance.choice(["s1", "s2", "\0", 4]), "long": "x" * chance.choice([3, 251])},
        }
        if number % 4:  # others have no begin of their own
            told["request_time"] = f"2026-01-01T00:00:00.{chance.randrange(5):03}Z"
        tags = {"kind": chance.choice(["a", "B", "é%", "a" * 251])}
        if number % 5:
            tags[NAME_TAG] = chance.choice(["answer", "Ask"])
        experiment = chance.choice(["ex_a", "ex_b"])
        made = Trace(
            id=ids("tx"), created_at=state.clock.now(), request=f"tr-{number}", experiment=experiment, told=told,
            tags=tags,
        )  # fmt: skip
        found.append(made)
    return found


def _questions() -> list[tuple[Condition, ...]]:
    texts = [
        (Kind.ATTRIBUTE, "status", ["OK", "ERROR", "ok"]), (Kind.ATTRIBUTE, "name", ["answer", "a%", "no"]),
        (Kind.ATTRIBUTE, "request_id", ["tr-1", "tr-%"]), (Kind.TAG, "kind", ["a", "changed", "é%", "a" * 251]),
        (Kind.METADATA, "session", ["s1", "\0", "none"]), (Kind.METADATA, "long", ["xxx", "x" * 251]),
        (Kind.METADATA, "absent", ["s1"]), (Kind.TAG, "k" * 300, ["a"]),
    ]  # fmt: skip
    found: list[tuple[Condition, ...]] = [()]
    for kind, name, values in texts:
        field = Field(kind=kind, name=name)
        for operator in (Operator.EQUAL, Operator.LIKE):
            found += [(Condition(field=field, operator=operator, value=value),) for value in values]
        for operator in (Operator.NOT_EQUAL, Operator.ILIKE):
            found.append((Condition(field=field, operator=operator, value=values[0]),))
        found += [
            (Condition(field=field, operator=each, value=tuple(values)),) for each in (Operator.IN, Operator.NOT_IN)
        ]
        found += [(Condition(field=field, operator=each),) for each in (Operator.IS_NULL, Operator.IS_NOT_NULL)]
    time = Field(kind=Kind.ATTRIBUTE, name="timestamp_ms")
    compared = (Operator.EQUAL, Operator.NOT_EQUAL, Operator.GREATER, Operator.GREATER_EQUAL, Operator.LESS)
    found += [(Condition(field=time, operator=each, value=1_767_225_600_002),) for each in compared]
    found.append((*found[1], *found[-1]))
    return found


def _values(trace: Trace, field: Field) -> Sequence[Any]:
    if field.kind is Kind.ATTRIBUTE:
        known = {
            "status": state_of(trace), "name": name_of(trace), "request_id": trace.request,
            "timestamp_ms": began_ms(trace),
        }  # fmt: skip
        return [] if known[field.name] is None else [known[field.name]]
    texts = trace.tags if field.kind is Kind.TAG else metadata_of(trace)
    return [texts[field.name]] if field.name in texts else []
