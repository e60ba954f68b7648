"""Traces, as MLflow's clients speak of them: what the client tells is kept as it is, and its spans are an artifact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from headway.errors import Invalid, NotFound
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.traces import Trace
from headway.server.mlflow.experiments import experiment_of, shown_id
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import Answer, Ask, Desk, checked_most, paged, with_next

_LOCATION = "mlflow.artifactLocation"


class StartTrace(Ask):
    trace: dict[str, Any]


class TraceId(Ask):
    trace_id: str


class BatchGet(Ask):
    trace_ids: list[str] = []


class TagTrace(TraceId):
    key: str
    value: str = ""


class SearchTraces(Ask):
    locations: list[dict[str, Any]] = []
    filter: str = ""
    max_results: int = 100
    order_by: list[str] = []
    page_token: str = ""


def start(ask: StartTrace, desk: Desk) -> Answer:
    told = ask.trace.get("trace_info")
    if not isinstance(told, dict) or not isinstance(told.get("trace_id"), str):
        raise Invalid("a trace needs trace_info with a trace_id")
    experiment = experiment_of(desk.platform, next(_experiments([told.get("trace_location")]), "0"))
    tags = told.get("tags") or {}
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise Invalid("the tags of a trace are texts")
    identifier = told["trace_id"]
    tags = {**tags, _LOCATION: f"mlflow-artifacts:/{shown_id(experiment)}/traces/{identifier}/artifacts"}
    rest = {name: value for name, value in told.items() if name != "tags"}
    return {
        "trace": {"trace_info": shown(desk.platform.traces.keep(identifier, experiment.id, rest, tags, by=desk.by))}
    }


def get(ask: TraceId, desk: Desk) -> Answer:
    return {"trace": {"trace_info": shown(desk.platform.traces.get(ask.trace_id))}}


def batch_get(ask: BatchGet, desk: Desk) -> Answer:
    """None with spans: clients then read them from the artifact."""
    found = []
    for identifier in ask.trace_ids[:1000]:
        try:
            found.append({"trace_info": shown(desk.platform.traces.get(identifier))})
        except NotFound:
            continue
    return {"traces": found}


def search(ask: SearchTraces, desk: Desk) -> Answer:
    most = checked_most(ask.max_results, 500)
    if ask.filter.strip():
        raise Invalid("traces are not searched by a filter here; leave filter_string out")
    identifiers = [experiment_of(desk.platform, each).id for each in _experiments(ask.locations)]
    page, token = paged(_within(desk.platform, identifiers), most, ask.page_token)
    return with_next({"traces": [shown(trace) for trace in page]}, token)


def set_tag(ask: TagTrace, desk: Desk) -> Answer:
    desk.platform.traces.tag(ask.trace_id, {ask.key: ask.value}, by=desk.by)
    return {}


def delete_tag(ask: TagTrace, desk: Desk) -> Answer:
    desk.platform.traces.tag(ask.trace_id, {ask.key: None}, by=desk.by)
    return {}


def shown(trace: Trace) -> Answer:
    return {**trace.told, "tags": trace.tags}


def _within(platform: Platform, identifiers: list[str]) -> list[Trace]:
    return list(platform.traces.within(identifiers))


def _experiments(locations: Iterable[Any]) -> Any:
    for location in locations:
        try:
            yield str(msgspec.convert(location, dict[str, Any])["mlflow_experiment"]["experiment_id"])
        except (msgspec.ValidationError, KeyError, TypeError) as error:
            raise Invalid("a location of traces is an experiment: mlflow_experiment.experiment_id") from error


ENDPOINTS = (
    Endpoint("POST", "traces", StartTrace, start),
    Endpoint("POST", "traces/search", SearchTraces, search),
    Endpoint("GET", "traces/batchGet", BatchGet, batch_get),
    Endpoint("POST", "traces/batchGet", BatchGet, batch_get),
    Endpoint("GET", "traces/get", TraceId, get),
    Endpoint("GET", "traces/{trace_id}", TraceId, get),
    Endpoint("PATCH", "traces/{trace_id}/tags", TagTrace, set_tag),
    Endpoint("DELETE", "traces/{trace_id}/tags", TagTrace, delete_tag),
)
