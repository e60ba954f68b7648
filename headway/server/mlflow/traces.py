"""Traces, as MLflow's clients speak of them: what the client tells is kept as it is, and so are its spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from headway.errors import Invalid, NotFound
from headway.lifecycle.runs.records import Experiment
from headway.lifecycle.runs.traces import Span, Trace, began_ms
from headway.server.mlflow import trace_search
from headway.server.mlflow.assessments import prepared
from headway.server.mlflow.experiments import experiment_of, shown_id
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.trace_search import PROMPTS_TAG, RUN, linked_prompts
from headway.server.mlflow.wire import Answer, Ask, Desk, checked_most, with_next

_LOCATION = "mlflow.artifactLocation"
_MOST_LINKED = 100


class StartTrace(Ask):
    trace: dict[str, Any]


class TraceId(Ask):
    trace_id: str


class BatchGet(Ask):
    trace_ids: list[str] = []
    experiment_ids: list[str] = []


class TagTrace(TraceId):
    key: str
    value: str = ""


class DeleteTraces(Ask):
    experiment_id: str
    max_timestamp_millis: int | None = None
    max_traces: int | None = None
    request_ids: list[str] = []


class LinkToRun(Ask):
    trace_ids: list[str]
    run_id: str


class PromptVersion(Ask):
    name: str
    version: str


class LinkPrompts(TraceId, kw_only=True):
    prompt_versions: list[PromptVersion]


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
    given = _convert(told.get("assessments") or [], list[dict[str, Any]], "assessments")
    assessments = {each["assessment_id"]: each for each in (prepared(one, identifier, desk) for one in given)}
    kept = desk.platform.traces.keep(
        identifier, experiment.id, {name: value for name, value in told.items() if name not in ("tags", "assessments")},
        tags | located(experiment, identifier), by=desk.by, assessments=assessments,
    )  # fmt: skip
    return {"trace": {"trace_info": shown(kept)}}


def export(desk: Desk, experiment_id: str, run_id: str, spans: Sequence[Span]) -> None:
    """Keep spans that came by OpenTelemetry's protocol, as traces of an experiment."""
    experiment = experiment_of(desk.platform, experiment_id)
    told: dict[str, Any] = {"trace_location": {
        "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": shown_id(experiment)},
    }}  # fmt: skip
    if run_id:
        told["trace_metadata"] = {RUN: desk.platform.runs.get(run_id).id}
    desk.platform.traces.add_spans(experiment.id, spans, told, lambda request: located(experiment, request), by=desk.by)


def located(experiment: Experiment, request: str) -> dict[str, str]:
    """The tag that tells a client where the files of a trace belong."""
    return {_LOCATION: f"mlflow-artifacts:/{shown_id(experiment)}/traces/{request}/artifacts"}


def get(ask: TraceId, desk: Desk) -> Answer:
    return {"trace": {"trace_info": shown(desk.platform.traces.get(ask.trace_id))}}


def get_whole(ask: TraceId, desk: Desk) -> Answer:
    return {"trace": _whole(desk, [desk.platform.traces.get(ask.trace_id)])[0]}


def batch_get(ask: BatchGet, desk: Desk) -> Answer:
    """Those that are there, with the spans that are kept by themselves; the others are an artifact."""
    return {"traces": _whole(desk, _those(ask, desk))}


def batch_get_infos(ask: BatchGet, desk: Desk) -> Answer:
    return {"trace_infos": [shown(trace) for trace in _those(ask, desk)]}


def search(ask: SearchTraces, desk: Desk) -> Answer:
    most = checked_most(ask.max_results, 500)
    identifiers = [experiment_of(desk.platform, each).id for each in _experiments(ask.locations)]
    page = trace_search.search(desk.platform, identifiers, ask.filter, ask.order_by, limit=most, after=ask.page_token)
    return with_next({"traces": [shown(trace) for trace in page.items]}, page.next)


def link_to_run(ask: LinkToRun, desk: Desk) -> Answer:
    if len(ask.trace_ids) > _MOST_LINKED:
        raise Invalid(f"at most {_MOST_LINKED} traces are linked at once, not {len(ask.trace_ids)}")
    run = desk.platform.runs.get(ask.run_id)
    for identifier in ask.trace_ids:
        desk.platform.traces.link(identifier, run.id, by=desk.by)
    return {}


def link_prompts(ask: LinkPrompts, desk: Desk) -> Answer:
    """Kept as the tag that clients read them from."""
    there = linked_prompts(desk.platform.traces.get(ask.trace_id))
    linked = list(dict.fromkeys([*there, *((prompt.name, prompt.version) for prompt in ask.prompt_versions)]))
    written = msgspec.json.encode([{"name": name, "version": version} for name, version in linked]).decode()
    desk.platform.traces.tag(ask.trace_id, {PROMPTS_TAG: written}, by=desk.by)
    return {}


def set_tag(ask: TagTrace, desk: Desk) -> Answer:
    desk.platform.traces.tag(ask.trace_id, {ask.key: ask.value}, by=desk.by)
    return {}


def delete_tag(ask: TagTrace, desk: Desk) -> Answer:
    desk.platform.traces.tag(ask.trace_id, {ask.key: None}, by=desk.by)
    return {}


def delete(ask: DeleteTraces, desk: Desk) -> Answer:
    """Those named, or up to a time, those that began first first: clients send them in any order."""
    experiment = experiment_of(desk.platform, ask.experiment_id)
    wanted, until = set(ask.request_ids), ask.max_timestamp_millis
    if bool(wanted) is (until is not None):
        raise Invalid("name the traces in request_ids, or a time in max_timestamp_millis, and not both")
    found = [
        trace
        for trace in sorted(desk.platform.traces.within([experiment.id]), key=_age)
        if trace.request in wanted or (until is not None and began_ms(trace) <= until)
    ]
    found = found[: max(0, ask.max_traces)] if ask.max_traces is not None else found
    for trace in found:
        desk.platform.traces.delete(trace.request, by=desk.by)
    return {"traces_deleted": len(found)}


def _age(trace: Trace) -> tuple[int, str]:
    return began_ms(trace), trace.id


def shown(trace: Trace) -> Answer:
    return {**trace.told, "tags": trace.tags, "assessments": list(trace.assessments.values())}


def _whole(desk: Desk, traces: Sequence[Trace]) -> list[Answer]:
    spans = desk.platform.traces.spans([trace.request for trace in traces])
    return [{"trace_info": shown(trace), "spans": [span.told for span in spans[trace.request]]} for trace in traces]


def _those(ask: BatchGet, desk: Desk) -> list[Trace]:
    among = {experiment_of(desk.platform, each).id for each in ask.experiment_ids}
    found = []
    for identifier in ask.trace_ids[:1000]:
        try:
            trace = desk.platform.traces.get(identifier)
        except NotFound:
            continue
        if not among or trace.experiment in among:
            found.append(trace)
    return found


def _convert(value: Any, kind: Any, what: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"{what} of a trace cannot be read: {error}") from error


def _experiments(locations: Iterable[Any]) -> Any:
    for location in locations:
        try:
            yield str(msgspec.convert(location, dict[str, Any])["mlflow_experiment"]["experiment_id"])
        except (msgspec.ValidationError, KeyError, TypeError) as error:
            raise Invalid("a location of traces is an experiment: mlflow_experiment.experiment_id") from error


ENDPOINTS = (
    Endpoint("POST", "traces", StartTrace, start),
    Endpoint("POST", "traces/delete-traces", DeleteTraces, delete),
    Endpoint("POST", "traces/search", SearchTraces, search),
    Endpoint("GET", "traces/batchGet", BatchGet, batch_get),
    Endpoint("POST", "traces/batchGet", BatchGet, batch_get),
    Endpoint("POST", "traces/batchGetInfos", BatchGet, batch_get_infos),
    Endpoint("POST", "traces/link-to-run", LinkToRun, link_to_run),
    Endpoint("POST", "traces/link-prompts", LinkPrompts, link_prompts),
    Endpoint("GET", "traces/get", TraceId, get_whole),
    Endpoint("GET", "traces/{trace_id}", TraceId, get),
    Endpoint("PATCH", "traces/{trace_id}/tags", TagTrace, set_tag),
    Endpoint("DELETE", "traces/{trace_id}/tags", TagTrace, delete_tag),
)
