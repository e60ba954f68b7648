"""Which traces a search finds: its words, and the values of a trace by these."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from headway.errors import Invalid
from headway.kernel.paging import Page, page_token, place_in
from headway.kernel.records import Value
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.matching import fits
from headway.lifecycle.runs.places import By, by, paged
from headway.lifecycle.runs.search import Condition, Field, Kind, Order, Vocabulary, parsed_filter, parsed_order
from headway.lifecycle.runs.traces import NAME_TAG, Span, Trace, TraceWalk, began_ms, metadata_of
from headway.server.mlflow.otlp import attributes_of, text

TRACES = Vocabulary(
    texts=frozenset({"request_id", "client_request_id", "status", "name", "run_id", "prompt", "text"}),
    numbers=frozenset({"timestamp_ms", "execution_time_ms", "end_time_ms"}),
    listed=frozenset({"request_id", "client_request_id", "status", "name", "run_id"}),
    keyed=frozenset({Kind.TAG, Kind.METADATA, Kind.SPAN, Kind.FEEDBACK, Kind.EXPECTATION}),
    aliases={
        "timestamp": "timestamp_ms", "execution_time": "execution_time_ms", "end_time": "end_time_ms",
        "trace_id": "request_id", "state": "status",
    },
)  # fmt: skip
RUN, PROMPTS_TAG = "mlflow.sourceRun", "mlflow.linkedPrompts"
_ATTRIBUTES = "attributes."
_SECONDS = re.compile(r"-?\d{1,12}(?:\.\d+)?s")


class Values:
    """The values of traces by field. Spans are read only if one is asked for."""

    def __init__(self, platform: Platform, traces: Sequence[Trace], where: Sequence[Condition]) -> None:
        within = any(condition.field.kind is Kind.SPAN or _is_text(condition.field) for condition in where)
        self._spans = platform.traces.spans([trace.request for trace in traces]) if within else {}

    def __call__(self, trace: Trace, field: Field) -> list[Any]:
        if field.kind is Kind.ATTRIBUTE:
            return self._attribute(trace, field.name)
        if field.kind is Kind.SPAN:
            found = (_of_span(span, field.name) for span in self._spans[trace.request])
            return [value for value in found if value is not None]
        if field.kind in (Kind.FEEDBACK, Kind.EXPECTATION):
            return _assessed(trace, field)
        texts = trace.tags if field.kind is Kind.TAG else metadata_of(trace)
        return [texts[field.name]] if field.name in texts else []

    def _attribute(self, trace: Trace, name: str) -> list[Any]:
        if name == "text":
            return [msgspec.json.encode(span.told).decode() for span in self._spans[trace.request]]
        if name == "run_id":
            own = metadata_of(trace).get(RUN)
            return [*([own] if own else []), *trace.runs]
        if name == "prompt":
            return [f"{name}/{version}" for name, version in linked_prompts(trace)]
        started, took = began_ms(trace), duration_ms(trace)
        known = {
            "request_id": trace.request, "client_request_id": trace.told.get("client_request_id"),
            "status": trace.told.get("state"), "name": trace.tags.get(NAME_TAG), "timestamp_ms": started,
            "execution_time_ms": took, "end_time_ms": None if took is None else started + took,
        }  # fmt: skip
        return [] if known[name] is None else [known[name]]


class TraceQuestion(Value):
    """What is asked on every page: a token leads on in this and in nothing else."""

    experiments: tuple[str, ...]
    where: tuple[Condition, ...]
    order: tuple[Order, ...]


_BEGUN = Field(kind=Kind.ATTRIBUTE, name="timestamp_ms")
_AT_ONCE = 500


def search(
    platform: Platform, experiments: Sequence[str], text: str, order_by: Sequence[str], *, limit: int, after: str
) -> Page[Trace]:
    """A page of the traces of experiments for which a filter holds: as ordered, else those that began last first."""
    where, order = parsed_filter(text, TRACES), parsed_order(order_by, TRACES)
    if any(each.field.kind is Kind.SPAN or _is_text(each.field) for each in order):
        raise Invalid("traces cannot be ordered by what is in their spans")
    question = TraceQuestion(experiments=tuple(experiments), where=tuple(where), order=tuple(order))
    walk = TraceWalk(experiments=question.experiments, where=question.where, limit=_AT_ONCE)
    if not order or order[0].field == _BEGUN:
        return _walked(platform, walk.but(descending=not order or order[0].descending), question, limit, after)
    found = [trace for stretch in _stretches(platform, walk) for trace in _fit(platform, stretch, where)]
    values = Values(platform, found, ())  # no order is by what is in spans
    newest: list[By[Trace]] = [By(began_ms, descending=True), By(lambda trace: trace.id, descending=True)]
    return paged(found, [*by(order, values), *newest], question, limit=limit, after=after)


def _walked(platform: Platform, walk: TraceWalk, question: TraceQuestion, limit: int, after: str) -> Page[Trace]:
    """By begin, only as far as the page reaches."""
    if after:
        (_, began), (_, trace) = place_in(after, question)[-2:]
        walk = walk.but(behind=(int(began or 0), str(trace)))
    found: list[Trace] = []
    for stretch in _stretches(platform, walk.but(limit=min(_AT_ONCE, limit + 1))):
        found += _fit(platform, stretch, question.where)
        if len(found) > limit:
            break
    page = tuple(found[:limit])
    if len(found) <= limit:
        return Page(items=page)
    return Page(items=page, next=page_token(question, ((0, began_ms(page[-1])), (0, page[-1].id))))


def _stretches(platform: Platform, walk: TraceWalk) -> Iterator[Sequence[Trace]]:
    """What may fit, a stretch at a time: a short first one, as most of what is asked for is new."""
    while stretch := platform.traces.walk(walk):
        yield stretch
        if len(stretch) < walk.limit:
            return
        last = stretch[-1]
        walk = walk.but(behind=(began_ms(last), last.id), limit=_AT_ONCE)


def _fit(platform: Platform, traces: Sequence[Trace], where: Sequence[Condition]) -> list[Trace]:
    values = Values(platform, traces, where)
    return [trace for trace in traces if fits(trace, where, values)]


def duration_ms(trace: Trace) -> float | None:
    told = str(trace.told.get("execution_duration", ""))
    return float(told[:-1]) * 1000 if _SECONDS.fullmatch(told) else None


def _is_text(field: Field) -> bool:
    return field.kind is Kind.ATTRIBUTE and field.name == "text"


def _of_span(span: Span, name: str) -> str | None:
    if name.startswith(_ATTRIBUTES):
        found = attributes_of(span.told).get(name.removeprefix(_ATTRIBUTES))
        return None if found is None else text(found)
    return {"name": span.name, "type": span.kind, "status": span.state}[name]


def _assessed(trace: Trace, field: Field) -> list[str | float]:
    """A value as a text, and as a number if it is one."""
    found: list[str | float] = []
    for assessment in trace.assessments.values():
        given = assessment.get(field.kind)
        if assessment.get("assessment_name") != field.name or not isinstance(given, dict):
            continue
        value = given.get("value")
        found.append(value if isinstance(value, str) else msgspec.json.encode(value).decode())
        if isinstance(value, int | float) and math.isfinite(value):
            found.append(float(value))
    return found


def linked_prompts(trace: Trace) -> list[tuple[str, str]]:
    """Names and versions of the prompts that a trace used; none where its tag says nothing of the kind."""
    try:
        linked = msgspec.json.decode(trace.tags.get(PROMPTS_TAG, "[]"), type=list[dict[str, str]])
    except msgspec.MsgspecError:
        return []
    return [(prompt.get("name", ""), prompt.get("version", "")) for prompt in linked]
