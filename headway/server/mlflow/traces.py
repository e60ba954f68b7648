"""Traces, as MLflow's clients speak of them: what the client tells is kept as it is, and its spans are an artifact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import msgspec

from headway.errors import Invalid, NotFound
from headway.lifecycle.runs.traces import Trace
from headway.server.mlflow.experiments import experiment_of, shown_id
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import Answer, Ask, Desk, checked_most, moment, with_next

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


class DeleteTraces(Ask):
    experiment_id: str
    max_timestamp_millis: int | None = None
    max_traces: int | None = None
    request_ids: list[str] = []


class Assess(TraceId, kw_only=True):
    assessment: dict[str, Any]


class AssessmentId(TraceId, kw_only=True):
    assessment_id: str


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
    page = desk.platform.traces.page(identifiers, limit=most, after=ask.page_token)
    return with_next({"traces": [shown(trace) for trace in page.items]}, page.next)


def set_tag(ask: TagTrace, desk: Desk) -> Answer:
    desk.platform.traces.tag(ask.trace_id, {ask.key: ask.value}, by=desk.by)
    return {}


def delete_tag(ask: TagTrace, desk: Desk) -> Answer:
    desk.platform.traces.tag(ask.trace_id, {ask.key: None}, by=desk.by)
    return {}


def delete(ask: DeleteTraces, desk: Desk) -> Answer:
    """Those named, or the oldest up to a time."""
    experiment = experiment_of(desk.platform, ask.experiment_id)
    wanted, until = set(ask.request_ids), ask.max_timestamp_millis
    if bool(wanted) is (until is not None):
        raise Invalid("name the traces in request_ids, or a time in max_timestamp_millis, and not both")
    found = [
        trace
        for trace in reversed(desk.platform.traces.within([experiment.id]))
        if trace.request in wanted or (until is not None and trace.created_at <= moment(until))
    ]
    found = found[: max(0, ask.max_traces)] if ask.max_traces is not None else found
    for trace in found:
        desk.platform.traces.delete(trace.request, by=desk.by)
    return {"traces_deleted": len(found)}


def assess(ask: Assess, desk: Desk) -> Answer:
    identifier = f"a-{uuid4().hex}"
    kept = {**ask.assessment, "assessment_id": identifier, "trace_id": ask.trace_id}
    desk.platform.traces.assess(ask.trace_id, identifier, kept, by=desk.by)
    return {"assessment": kept}


def assessment(ask: AssessmentId, desk: Desk) -> Answer:
    trace = desk.platform.traces.get(ask.trace_id)
    if ask.assessment_id not in trace.assessments:
        raise NotFound(f"trace {ask.trace_id[:100]!r} has no assessment {ask.assessment_id[:100]!r}")
    return {"assessment": trace.assessments[ask.assessment_id]}


def delete_assessment(ask: AssessmentId, desk: Desk) -> Answer:
    desk.platform.traces.assess(ask.trace_id, ask.assessment_id, None, by=desk.by)
    return {}


def shown(trace: Trace) -> Answer:
    return {**trace.told, "tags": trace.tags, "assessments": list(trace.assessments.values())}


def _experiments(locations: Iterable[Any]) -> Any:
    for location in locations:
        try:
            yield str(msgspec.convert(location, dict[str, Any])["mlflow_experiment"]["experiment_id"])
        except (msgspec.ValidationError, KeyError, TypeError) as error:
            raise Invalid("a location of traces is an experiment: mlflow_experiment.experiment_id") from error


ENDPOINTS = (
    Endpoint("POST", "traces", StartTrace, start),
    Endpoint("POST", "traces/delete-traces", DeleteTraces, delete),
    Endpoint("POST", "traces/{trace_id}/assessments", Assess, assess),
    Endpoint("GET", "traces/{trace_id}/assessments/{assessment_id}", AssessmentId, assessment),
    Endpoint("DELETE", "traces/{trace_id}/assessments/{assessment_id}", AssessmentId, delete_assessment),
    Endpoint("POST", "traces/search", SearchTraces, search),
    Endpoint("GET", "traces/batchGet", BatchGet, batch_get),
    Endpoint("POST", "traces/batchGet", BatchGet, batch_get),
    Endpoint("GET", "traces/get", TraceId, get),
    Endpoint("GET", "traces/{trace_id}", TraceId, get),
    Endpoint("PATCH", "traces/{trace_id}/tags", TagTrace, set_tag),
    Endpoint("DELETE", "traces/{trace_id}/tags", TagTrace, delete_tag),
)
