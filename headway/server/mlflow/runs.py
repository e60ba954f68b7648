"""Runs, as MLflow's clients speak of them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from headway.errors import Invalid, NotFound
from headway.kernel.paging import Page
from headway.kernel.records import json_number
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.records import AmendRun, Experiment, Input, Metric, ModelUse, Run, RunState, StartRun
from headway.lifecycle.runs.rules import must_be_active
from headway.lifecycle.runs.search import RUNS, Condition, Operator, RunSearch, parsed_filter, parsed_order
from headway.server.mlflow.experiments import experiment_of, names_of, shown_id, view_of
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import (
    Answer,
    Ask,
    Desk,
    KeyValue,
    checked_most,
    moment,
    ms,
    pairs,
    present,
    tags_of,
    with_next,
)

NAME_TAG, PARENT_TAG, USER_TAG = "mlflow.runName", "mlflow.parentRunId", "mlflow.user"
_STATES = {
    "RUNNING": RunState.RUNNING,
    "SCHEDULED": RunState.PENDING,
    "FINISHED": RunState.FINISHED,
    "FAILED": RunState.FAILED,
    "KILLED": RunState.CANCELLED,
}
_STATUSES = {state: status for status, state in _STATES.items()}
_NUMBERED = dict(enumerate(_STATES, 1))
_ADJECTIVES = (
    "amber",
    "brisk",
    "calm",
    "daring",
    "eager",
    "fleet",
    "gentle",
    "hardy",
    "keen",
    "lucid",
    "mellow",
    "noble",
)
_NOUNS = ("ash", "brook", "cedar", "dune", "elm", "fjord", "glen", "heath", "isle", "larch", "moor", "ridge")


class CreateRun(Ask):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int | None = None
    tags: list[KeyValue] = []


class RunId(Ask):
    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """Raises `Invalid` when neither is given."""
        if not (self.run_id or self.run_uuid):
            raise Invalid("run_id is missing: this call is about one run")
        return self.run_id or self.run_uuid


class UpdateRun(RunId):
    status: str | int | None = None
    end_time: int | None = None
    run_name: str | None = None


class TagRun(RunId, kw_only=True):
    key: str
    value: str = ""


class GivenDataset(Ask):
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""


class GivenInput(Ask):
    dataset: GivenDataset
    tags: list[KeyValue] = []


class GivenModel(Ask):
    model_id: str
    step: int = 0


class LogInputs(RunId):
    datasets: list[GivenInput] = []
    models: list[GivenModel] = []


class LogOutputs(RunId):
    models: list[GivenModel] = []


class SearchRuns(Ask):
    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: int = 1000
    order_by: list[str] = []
    page_token: str = ""


class SearchDatasets(Ask):
    experiment_ids: list[str] = []


class LogLegacyModel(RunId):
    model_json: str = ""


def create(ask: CreateRun, desk: Desk) -> Answer:
    experiment = experiment_of(desk.platform, ask.experiment_id)
    tags = tags_of(ask.tags)
    name = ask.run_name or tags.get(NAME_TAG) or _made_up()
    if ask.run_name and tags.get(NAME_TAG, ask.run_name) != ask.run_name:
        raise Invalid(f"run_name and the tag {NAME_TAG} differ: {ask.run_name[:100]!r}, {tags[NAME_TAG][:100]!r}")
    parent = tags.get(PARENT_TAG, "")
    command = StartRun(
        experiment=experiment.name, name=name, tags=tags | {NAME_TAG: name},
        parent=parent if parent and _exists(desk.platform, parent) else "",
        user=ask.user_id or tags.get(USER_TAG, ""),
        started_at=None if ask.start_time is None else moment(ask.start_time),
    )  # fmt: skip
    return {"run": _shown(desk.platform.runs.start(command, by=desk.by), experiment, ())}


def get(ask: RunId, desk: Desk) -> Answer:
    return {"run": shown(desk.platform, [desk.platform.runs.get(ask.run)])[0]}


def update(ask: UpdateRun, desk: Desk) -> Answer:
    run = desk.platform.runs.get(ask.run)
    must_be_active(run)
    if ask.status is not None:
        run = _moved(run, _state(ask.status), ask.end_time, desk)
    if ask.run_name:
        run = desk.platform.runs.amend(run.id, AmendRun(name=ask.run_name, tags={NAME_TAG: ask.run_name}), by=desk.by)
    return {"run_info": _head(run, experiment_named(desk.platform, run.experiment))}


def _moved(run: Run, state: RunState, end_ms: int | None, desk: Desk) -> Run:
    if run.state is state:
        return run
    runs = desk.platform.runs
    if run.over:
        run = runs.resume(run.id, by=desk.by)
    if run.state is RunState.PENDING and state is RunState.FINISHED:
        runs.move(run.id, RunState.RUNNING, by=desk.by)
    ended_at = None if end_ms is None else moment(end_ms)
    return runs.move(run.id, state, by=desk.by, at=ended_at)


def delete(ask: RunId, desk: Desk) -> Answer:
    desk.platform.runs.delete(ask.run, by=desk.by)
    return {}


def restore(ask: RunId, desk: Desk) -> Answer:
    desk.platform.runs.restore(ask.run, by=desk.by)
    return {}


def set_tag(ask: TagRun, desk: Desk) -> Answer:
    must_be_active(desk.platform.runs.get(ask.run))
    name = ask.value if ask.key == NAME_TAG else None
    desk.platform.runs.amend(ask.run, AmendRun(name=name, tags={ask.key: ask.value}), by=desk.by)
    return {}


def delete_tag(ask: TagRun, desk: Desk) -> Answer:
    run = desk.platform.runs.get(ask.run)
    must_be_active(run)
    if ask.key not in run.tags:
        raise NotFound(f"run {run.id} has no tag {ask.key[:100]!r}")
    desk.platform.runs.amend(run.id, AmendRun(tags={ask.key: None}), by=desk.by)
    return {}


def log_inputs(ask: LogInputs, desk: Desk) -> Answer:
    inputs = tuple(
        Input(
            **{name: getattr(given.dataset, name) for name in GivenDataset.__struct_fields__}, tags=tags_of(given.tags)
        )
        for given in ask.datasets
    )
    _check_inputs(inputs)
    read = tuple(ModelUse(model=native_model(given.model_id)) for given in ask.models)
    desk.platform.runs.amend(ask.run, AmendRun(inputs=inputs, models_read=read), by=desk.by)
    return {}


def log_outputs(ask: LogOutputs, desk: Desk) -> Answer:
    written = tuple(ModelUse(model=native_model(given.model_id), step=given.step) for given in ask.models)
    desk.platform.runs.amend(ask.run, AmendRun(models_written=written), by=desk.by)
    return {}


def log_legacy_model(ask: LogLegacyModel, desk: Desk) -> Answer:
    """What clients before version 3 tell of a model beside its files: kept as the tag that they read it from."""
    desk.platform.runs.amend(ask.run, AmendRun(tags={"mlflow.log-model.history": f"[{ask.model_json}]"}), by=desk.by)
    return {}


def search(ask: SearchRuns, desk: Desk) -> Answer:
    most, view = checked_most(ask.max_results, 50_000), view_of(ask.run_view_type)
    experiments = names_of(desk.platform, ask.experiment_ids)
    question = RunSearch(
        experiments=tuple(name for name, found in experiments.items() if view is not False or found.deleted_at is None),
        where=tuple(_native(condition) for condition in parsed_filter(ask.filter, RUNS)),
        order=parsed_order(ask.order_by, RUNS),
        deleted=view,
        limit=most,
        after=ask.page_token,
    )
    found = desk.platform.runs.found(question) if question.experiments else Page[Run](items=())
    return with_next({"runs": shown(desk.platform, found.items, experiments)}, found.next)


def search_datasets(ask: SearchDatasets, desk: Desk) -> Answer:
    experiments = names_of(desk.platform, ask.experiment_ids)
    runs = desk.platform.runs.found(RunSearch(experiments=tuple(experiments))).items if experiments else ()
    seen = {
        (shown_id(experiments[run.experiment]), item.name, item.digest, item.tags.get("mlflow.data.context", "")): None
        for run in runs
        for item in run.inputs
    }
    names = ("experiment_id", "name", "digest", "context")
    return {"dataset_summaries": [dict(zip(names, each, strict=True)) for each in seen]}


def shown(platform: Platform, runs: Sequence[Run], experiments: dict[str, Experiment] | None = None) -> list[Answer]:
    latest = platform.metrics.last_points([run.id for run in runs])
    known = dict(experiments or {})
    for name in {run.experiment for run in runs} - known.keys():
        known[name] = experiment_named(platform, name)
    return [_shown(run, known[run.experiment], latest[run.id]) for run in runs]


def _shown(run: Run, experiment: Experiment, latest: Sequence[Metric]) -> Answer:
    return {
        "info": _head(run, experiment),
        "data": {
            "metrics": [shown_metric(point) for point in latest],
            "params": pairs(run.params),
            "tags": pairs(_tags(run)),
        },
        "inputs": {
            "dataset_inputs": [_input(item) for item in run.inputs],
            "model_inputs": [{"model_id": shown_model(use.model)} for use in run.models_read],
        },
        "outputs": {
            "model_outputs": [{"model_id": shown_model(use.model), "step": use.step} for use in run.models_written]
        },
    }


def shown_metric(metric: Metric) -> Answer:
    return {"key": metric.key, "value": json_number(metric.value), "timestamp": ms(metric.at), "step": metric.step}


def _head(run: Run, experiment: Experiment) -> Answer:
    identifier = shown_id(experiment)
    return present(
        run_id=run.id,
        run_uuid=run.id,
        run_name=run.name or run.id,
        experiment_id=identifier,
        user_id=run.user or run.started_by,
        status=_STATUSES[run.state],
        start_time=ms(run.started_at or run.created_at),
        end_time=ms(run.ended_at),
        artifact_uri=f"mlflow-artifacts:/{identifier}/{run.id}/artifacts",
        lifecycle_stage="active" if run.deleted_at is None else "deleted",
    )


def _tags(run: Run) -> dict[str, str]:
    own = {NAME_TAG: run.name or run.id, **({PARENT_TAG: run.parent} if run.parent else {})}
    return own | run.tags


def _input(item: Input) -> Answer:
    dataset = {name: getattr(item, name) for name in GivenDataset.__struct_fields__}
    return {"tags": pairs(item.tags), "dataset": {name: value for name, value in dataset.items() if value}}


def experiment_named(platform: Platform, name: str) -> Experiment:
    found = platform.experiments.named(name)
    if found is None:
        raise NotFound(f"no experiment named {name!r}")
    return found


def native_model(model_id: str) -> str:
    """`m-...` as MLflow's clients write the id of a logged model, in ours."""
    return "lm_" + model_id.removeprefix("m-")


def shown_model(identifier: str) -> str:
    return "m-" + identifier.removeprefix("lm_")


def _native(condition: Condition) -> Condition:
    """With the words of our states."""
    if condition.field.name != "status" or condition.value is None:
        return condition
    if condition.operator in (Operator.LIKE, Operator.ILIKE):
        raise Invalid("status is compared by =, != or IN")
    values = condition.value if isinstance(condition.value, tuple) else (str(condition.value),)
    states = tuple(str(_STATES.get(value.upper(), value)) for value in values)
    return condition.but(value=states if isinstance(condition.value, tuple) else states[0])


def _state(status: str | int) -> RunState:
    name = _NUMBERED.get(status, "") if isinstance(status, int) else status
    if name not in _STATES:
        raise Invalid(f"{str(status)[:100]!r} is no status; there are: {', '.join(_STATES)}")
    return _STATES[name]


def _check_inputs(inputs: Sequence[Input]) -> None:
    limits: dict[str, int] = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 2_000_000}
    for item in inputs:
        for name, most in limits.items():
            text: Any = getattr(item, name)
            if len(text) > most:
                raise Invalid(f"the {name} of a dataset has at most {most} characters, not {len(text)}")
        if not item.name or not item.digest:
            raise Invalid("a dataset needs a name and a digest")


def _exists(platform: Platform, run: str) -> bool:
    try:
        platform.runs.get(run)
    except NotFound:
        return False
    return True


def _made_up() -> str:
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(1000)}"


ENDPOINTS = (
    Endpoint("POST", "runs/create", CreateRun, create, brief=True),
    Endpoint("GET", "runs/get", RunId, get),
    Endpoint("POST", "runs/update", UpdateRun, update, brief=True),
    Endpoint("POST", "runs/delete", RunId, delete),
    Endpoint("POST", "runs/restore", RunId, restore),
    Endpoint("POST", "runs/set-tag", TagRun, set_tag, brief=True),
    Endpoint("POST", "runs/delete-tag", TagRun, delete_tag, brief=True),
    Endpoint("POST", "runs/log-inputs", LogInputs, log_inputs),
    Endpoint("POST", "runs/outputs", LogOutputs, log_outputs),
    Endpoint("POST", "runs/log-model", LogLegacyModel, log_legacy_model),
    Endpoint("POST", "runs/search", SearchRuns, search),
    Endpoint("POST", "experiments/search-datasets", SearchDatasets, search_datasets),
)
