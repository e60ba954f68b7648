"""Experiments, as MLflow's clients speak of them. The one named Default has the id 0 there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headway.errors import AlreadyExists, Invalid, NotFound
from headway.kernel.access import SYSTEM
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.matching import fits
from headway.lifecycle.runs.places import By, by
from headway.lifecycle.runs.records import Experiment
from headway.lifecycle.runs.search import Field, Kind, Vocabulary, parsed_filter, parsed_order
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import Answer, Ask, Desk, KeyValue, checked_most, ms, page_of, pairs, tags_of, with_next

DEFAULT, DEFAULT_ID = "Default", "0"
_ATTRIBUTES = frozenset({"creation_time", "last_update_time"})
EXPERIMENTS = Vocabulary(texts=frozenset({"name", "experiment_id"}), numbers=_ATTRIBUTES)


class CreateExperiment(Ask):
    name: str
    artifact_location: str = ""
    tags: list[KeyValue] = []


class ExperimentId(Ask):
    experiment_id: str


class ExperimentName(Ask):
    experiment_name: str


class RenameExperiment(ExperimentId):
    new_name: str = ""


class TagExperiment(ExperimentId):
    key: str
    value: str = ""


class SearchExperiments(Ask):
    max_results: int = 1000
    filter: str = ""
    order_by: list[str] = []
    view_type: str | int = "ACTIVE_ONLY"
    page_token: str = ""


def experiment_of(platform: Platform, identifier: str) -> Experiment:
    """By the id that MLflow knows it by; raises `NotFound`."""
    return default(platform) if identifier == DEFAULT_ID else platform.experiments.get(identifier)


def default(platform: Platform) -> Experiment:
    """The experiment that is there before anybody made one."""
    found = platform.experiments.named(DEFAULT)
    if found is None:
        try:
            return platform.experiments.create(DEFAULT, by=SYSTEM)
        except AlreadyExists:  # another request was first
            return default(platform)
    return found


def shown_id(experiment: Experiment) -> str:
    return DEFAULT_ID if experiment.name == DEFAULT else experiment.id


def shown(experiment: Experiment) -> Answer:
    identifier = shown_id(experiment)
    return {
        "experiment_id": identifier,
        "name": experiment.name,
        "artifact_location": f"mlflow-artifacts:/{identifier}",
        "lifecycle_stage": "active" if experiment.deleted_at is None else "deleted",
        "creation_time": ms(experiment.created_at),
        "last_update_time": ms(experiment.updated_at or experiment.created_at),
        "tags": pairs(experiment.tags),
    }


def create(ask: CreateExperiment, desk: Desk) -> Answer:
    if ask.artifact_location:
        raise Invalid("artifacts are kept by this server: leave artifact_location out")
    if ask.name == DEFAULT:
        default(desk.platform)
    return {"experiment_id": desk.platform.experiments.create(ask.name, by=desk.by, tags=tags_of(ask.tags)).id}


def get(ask: ExperimentId, desk: Desk) -> Answer:
    return {"experiment": shown(experiment_of(desk.platform, ask.experiment_id))}


def get_by_name(ask: ExperimentName, desk: Desk) -> Answer:
    if ask.experiment_name == DEFAULT:
        return {"experiment": shown(default(desk.platform))}
    found = desk.platform.experiments.named(ask.experiment_name)
    if found is None:
        raise NotFound(f"no experiment named {ask.experiment_name[:200]!r}")
    return {"experiment": shown(found)}


def search(ask: SearchExperiments, desk: Desk) -> Answer:
    checked_most(ask.max_results, 50_000)
    view = view_of(ask.view_type)
    where, order = parsed_filter(ask.filter, EXPERIMENTS), parsed_order(ask.order_by, EXPERIMENTS)
    default(desk.platform)
    found = [
        experiment
        for experiment in desk.platform.experiments.every()
        if view in (None, experiment.deleted_at is not None) and fits(experiment, where, _values)
    ]
    ties = [By[Experiment](lambda found: ms(found.updated_at or found.created_at), True)]
    page = page_of(found, [*by(order, _values), *ties, By(lambda found: found.id, True)], ask)
    return with_next({"experiments": [shown(experiment) for experiment in page.items]}, page.next)


def delete(ask: ExperimentId, desk: Desk) -> Answer:
    found = experiment_of(desk.platform, ask.experiment_id)
    if found.name == DEFAULT:
        raise Invalid("the default experiment cannot be deleted")
    desk.platform.experiments.delete(found.id, by=desk.by)
    return {}


def restore(ask: ExperimentId, desk: Desk) -> Answer:
    desk.platform.experiments.restore(experiment_of(desk.platform, ask.experiment_id).id, by=desk.by)
    return {}


def rename(ask: RenameExperiment, desk: Desk) -> Answer:
    found = experiment_of(desk.platform, ask.experiment_id)
    if found.name == DEFAULT or ask.new_name == DEFAULT:
        raise Invalid("the default experiment keeps its name")
    if ask.new_name:
        desk.platform.experiments.rename(found.id, ask.new_name, by=desk.by)
    return {}


def set_tag(ask: TagExperiment, desk: Desk) -> Answer:
    found = experiment_of(desk.platform, ask.experiment_id)
    desk.platform.experiments.tag(found.id, {ask.key: ask.value}, by=desk.by)
    return {}


def delete_tag(ask: TagExperiment, desk: Desk) -> Answer:
    found = experiment_of(desk.platform, ask.experiment_id)
    if ask.key not in found.tags:
        raise NotFound(f"experiment {found.name!r} has no tag {ask.key[:100]!r}")
    desk.platform.experiments.tag(found.id, {ask.key: None}, by=desk.by)
    return {}


def view_of(view: str | int) -> bool | None:
    """Whether deleted ones are asked for; None for both."""
    views = {"ACTIVE_ONLY": False, 1: False, "DELETED_ONLY": True, 2: True, "ALL": None, 3: None}
    if view not in views:
        raise Invalid(f"{str(view)[:100]!r} is no view: take ACTIVE_ONLY, DELETED_ONLY or ALL")
    return views[view]


def _values(experiment: Experiment, field: Field) -> list[Any]:
    if field.kind is Kind.TAG:
        return [experiment.tags[field.name]] if field.name in experiment.tags else []
    known = shown(experiment)
    return [known[field.name]]


def names_of(platform: Platform, identifiers: Iterable[str]) -> dict[str, Experiment]:
    """The experiments with these ids by their names; an id that nothing has is left out."""
    found = {}
    for identifier in dict.fromkeys(identifiers):
        try:
            experiment = experiment_of(platform, identifier)
        except NotFound:
            continue
        found[experiment.name] = experiment
    return found


ENDPOINTS = (
    Endpoint("POST", "experiments/create", CreateExperiment, create),
    Endpoint("GET", "experiments/get", ExperimentId, get),
    Endpoint("GET", "experiments/get-by-name", ExperimentName, get_by_name),
    Endpoint("POST", "experiments/search", SearchExperiments, search),
    Endpoint("GET", "experiments/search", SearchExperiments, search),
    Endpoint("POST", "experiments/delete", ExperimentId, delete),
    Endpoint("POST", "experiments/restore", ExperimentId, restore),
    Endpoint("POST", "experiments/update", RenameExperiment, rename),
    Endpoint("POST", "experiments/set-experiment-tag", TagExperiment, set_tag),
    Endpoint("POST", "experiments/delete-experiment-tag", TagExperiment, delete_tag),
)
