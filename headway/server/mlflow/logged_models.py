"""Logged models, as MLflow's clients of version 3 speak of them."""

from __future__ import annotations

from typing import Any

from headway.errors import Invalid, NotFound
from headway.kernel.records import json_number
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.logged import LoggedModel, LoggedModelState, LogModel, ModelMetric
from headway.lifecycle.runs.matching import fits
from headway.lifecycle.runs.places import By, by
from headway.lifecycle.runs.search import Field, Kind, Order, Vocabulary, parsed_filter, parsed_order
from headway.server.mlflow.experiments import experiment_of, names_of, shown_id
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.runs import native_model, shown_model
from headway.server.mlflow.wire import (
    Answer,
    Ask,
    Desk,
    KeyValue,
    checked_most,
    ms,
    page_of,
    pairs,
    present,
    tags_of,
    with_next,
)

_STATES = {
    "LOGGED_MODEL_PENDING": LoggedModelState.PENDING,
    "LOGGED_MODEL_READY": LoggedModelState.READY,
    "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelState.FAILED,
}
_STATUSES = {state: status for status, state in _STATES.items()}
_NUMBERED = dict(enumerate(_STATES, 1))
LOGGED_MODELS = Vocabulary(
    texts=frozenset({"name", "model_id", "model_type", "status", "source_run_id"}),
    numbers=frozenset({"creation_timestamp", "last_updated_timestamp"}),
    listed=frozenset({"name", "model_id", "model_type", "status", "source_run_id"}),
    keyed=frozenset({Kind.METRIC, Kind.PARAM, Kind.TAG}),
    aliases={"creation_time": "creation_timestamp", "creation_timestamp_ms": "creation_timestamp",
             "last_updated_time": "last_updated_timestamp", "last_updated_timestamp_ms": "last_updated_timestamp"},
)  # fmt: skip


class CreateLoggedModel(Ask):
    experiment_id: str = "0"
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[KeyValue] = []
    tags: list[KeyValue] = []


class ModelId(Ask):
    model_id: str
    allow_deleted: bool = False


class FinishLoggedModel(ModelId, kw_only=True):
    status: str | int


class TagLoggedModel(ModelId):
    tags: list[KeyValue] = []


class UntagLoggedModel(ModelId, kw_only=True):
    tag_key: str


class LogModelParams(ModelId):
    params: list[KeyValue] = []


class AskedDataset(Ask):
    dataset_name: str
    dataset_digest: str = ""


class AskedOrder(Ask):
    field_name: str
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


class SearchLoggedModels(Ask):
    experiment_ids: list[str] = []
    filter: str = ""
    datasets: list[AskedDataset] = []
    max_results: int = 50
    order_by: list[AskedOrder] = []
    page_token: str = ""


def create(ask: CreateLoggedModel, desk: Desk) -> Answer:
    command = LogModel(
        experiment=experiment_of(desk.platform, ask.experiment_id).id, name=ask.name, run=ask.source_run_id,
        kind=ask.model_type, params=tags_of(ask.params), tags=tags_of(ask.tags),
    )  # fmt: skip
    return {"model": shown(desk.platform, desk.platform.logged_models.create(command, by=desk.by))}


def get(ask: ModelId, desk: Desk) -> Answer:
    found = desk.platform.logged_models.get(native_model(ask.model_id), deleted=ask.allow_deleted)
    return {"model": shown(desk.platform, found)}


def finish(ask: FinishLoggedModel, desk: Desk) -> Answer:
    name = _NUMBERED.get(ask.status, "") if isinstance(ask.status, int) else ask.status
    if name not in _STATES:
        raise Invalid(f"{str(ask.status)[:100]!r} is no status; there are: {', '.join(_STATES)}")
    found = desk.platform.logged_models.settle(native_model(ask.model_id), _STATES[name], by=desk.by)
    return {"model": shown(desk.platform, found)}


def delete(ask: ModelId, desk: Desk) -> Answer:
    desk.platform.logged_models.delete(native_model(ask.model_id), by=desk.by)
    return {}


def set_tags(ask: TagLoggedModel, desk: Desk) -> Answer:
    tagged = desk.platform.logged_models.tag(native_model(ask.model_id), tags_of(ask.tags), by=desk.by)
    return {"model": shown(desk.platform, tagged)}


def delete_tag(ask: UntagLoggedModel, desk: Desk) -> Answer:
    model = desk.platform.logged_models.get(native_model(ask.model_id))
    if ask.tag_key not in model.tags:
        raise NotFound(f"logged model {ask.model_id} has no tag {ask.tag_key[:100]!r}")
    desk.platform.logged_models.tag(model.id, {ask.tag_key: None}, by=desk.by)
    return {}


def log_params(ask: LogModelParams, desk: Desk) -> Answer:
    desk.platform.logged_models.add_params(native_model(ask.model_id), tags_of(ask.params), by=desk.by)
    return {}


def search(ask: SearchLoggedModels, desk: Desk) -> Answer:
    checked_most(ask.max_results, 1000)
    where = parsed_filter(ask.filter, LOGGED_MODELS)
    experiments = names_of(desk.platform, ask.experiment_ids)
    among = {(dataset.dataset_name, dataset.dataset_digest) for dataset in ask.datasets}

    def values(model: LoggedModel, field: Field) -> list[Any]:
        return _values(model, field, among)

    models = desk.platform.logged_models.within([experiment.id for experiment in experiments.values()])
    found = [model for model in models if fits(model, where, values)]
    keys = [_key(asked, among) for asked in ask.order_by]
    page = page_of(found, [*keys, By(lambda model: model.id, descending=True)], ask)
    return with_next({"models": [shown(desk.platform, model) for model in page.items]}, page.next)


def shown(platform: Platform, model: LoggedModel) -> Answer:
    identifier = shown_model(model.id)
    experiment = shown_id(platform.experiments.get(model.experiment))
    created = ms(model.created_at)
    info = present(
        model_id=identifier,
        experiment_id=experiment,
        name=model.name,
        creation_timestamp_ms=created,
        last_updated_timestamp_ms=ms(model.updated_at) or created,
        artifact_uri=f"mlflow-artifacts:/{experiment}/models/{identifier}/artifacts",
        status=_STATUSES[model.state],
        model_type=model.kind or None,
        source_run_id=model.run or None,
        tags=pairs(model.tags),
    )
    return {
        "info": info,
        "data": {"params": pairs(model.params), "metrics": [_metric(m, identifier) for m in model.metrics]},
    }


def _metric(metric: ModelMetric, model: str) -> Answer:
    return present(
        key=metric.key,
        value=json_number(float(metric.value)),
        timestamp=ms(metric.at),
        step=metric.step,
        model_id=model,
        run_id=metric.run or None,
        dataset_name=metric.dataset_name or None,
        dataset_digest=metric.dataset_digest or None,
    )


def _key(asked: AskedOrder, among: set[tuple[str, str]]) -> By[LoggedModel]:
    order: Order = parsed_order([asked.field_name], LOGGED_MODELS)[0].but(descending=not asked.ascending)
    narrowed = {(asked.dataset_name, asked.dataset_digest)} if asked.dataset_name else among
    return by([order], lambda model, field: _values(model, field, narrowed))[0]


def _values(model: LoggedModel, field: Field, among: set[tuple[str, str]]) -> list[Any]:
    """The values of a field; of metrics the last, measured on one of the datasets `among` if there are any."""
    if field.kind is Kind.METRIC:
        fitting = [
            metric
            for metric in model.metrics
            if metric.key == field.name and (not among or _measured_on(metric, among))
        ]
        return [float(max(fitting, key=lambda metric: (metric.step, metric.at)).value)] if fitting else []
    if field.kind is not Kind.ATTRIBUTE:
        texts = model.params if field.kind is Kind.PARAM else model.tags
        return [texts[field.name]] if field.name in texts else []
    known = {
        "name": model.name, "model_id": shown_model(model.id), "model_type": model.kind,
        "status": _STATUSES[model.state], "source_run_id": model.run, "creation_timestamp": ms(model.created_at),
        "last_updated_timestamp": ms(model.updated_at or model.created_at),
    }  # fmt: skip
    return [known[field.name]]


def _measured_on(metric: ModelMetric, among: set[tuple[str, str]]) -> bool:
    return (metric.dataset_name, metric.dataset_digest) in among or (metric.dataset_name, "") in among


ENDPOINTS = (
    Endpoint("POST", "logged-models/search", SearchLoggedModels, search),
    Endpoint("POST", "logged-models", CreateLoggedModel, create),
    Endpoint("GET", "logged-models/{model_id}", ModelId, get),
    Endpoint("PATCH", "logged-models/{model_id}", FinishLoggedModel, finish),
    Endpoint("DELETE", "logged-models/{model_id}", ModelId, delete),
    Endpoint("PATCH", "logged-models/{model_id}/tags", TagLoggedModel, set_tags),
    Endpoint("DELETE", "logged-models/{model_id}/tags/{tag_key}", UntagLoggedModel, delete_tag),
    Endpoint("POST", "logged-models/{model_id}/params", LogModelParams, log_params),
)
