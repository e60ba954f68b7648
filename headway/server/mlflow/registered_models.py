"""Registered models, as MLflow's clients speak of them."""

from __future__ import annotations

import re
from typing import Any

from headway.errors import Invalid
from headway.lifecycle.models.records import Model
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.matching import fits, only_texts
from headway.lifecycle.runs.places import By, by
from headway.lifecycle.runs.search import Condition, Field, Kind, Operator, Vocabulary, parsed_filter, parsed_order
from headway.server.mlflow import versions
from headway.server.mlflow.routing import Endpoint
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

_LATEST = "latest"
"""An alias that nobody sets: of the newest version."""
_NUMBERED = re.compile(r"[vV]\d+")
_PROMPT = "mlflow.prompt.is_prompt"
MODELS = Vocabulary(
    texts=frozenset({"name"}),
    numbers=frozenset({"creation_timestamp", "last_updated_timestamp"}),
    aliases={"timestamp": "creation_timestamp"},
)


class CreateModel(Ask):
    name: str
    tags: list[KeyValue] = []
    description: str = ""


class ModelName(Ask):
    name: str


class RenameModel(ModelName):
    new_name: str


class DescribeModel(ModelName):
    description: str = ""


class TagModel(ModelName):
    key: str
    value: str = ""


class AliasModel(ModelName):
    alias: str
    version: str = ""


class LatestVersions(ModelName):
    stages: list[str] = []


class SearchModels(Ask):
    filter: str = ""
    max_results: int = 100
    order_by: list[str] = []
    page_token: str = ""


def create(ask: CreateModel, desk: Desk) -> Answer:
    made = desk.platform.registry.create(ask.name, about=ask.description, tags=tags_of(ask.tags), by=desk.by)
    return {"registered_model": shown(desk.platform, made)}


def get(ask: ModelName, desk: Desk) -> Answer:
    return {"registered_model": shown(desk.platform, desk.platform.registry.model(ask.name))}


def rename(ask: RenameModel, desk: Desk) -> Answer:
    renamed = desk.platform.registry.rename(ask.name, ask.new_name, by=desk.by)
    return {"registered_model": shown(desk.platform, renamed)}


def describe(ask: DescribeModel, desk: Desk) -> Answer:
    described = desk.platform.registry.describe(ask.name, ask.description, by=desk.by)
    return {"registered_model": shown(desk.platform, described)}


def delete(ask: ModelName, desk: Desk) -> Answer:
    desk.platform.registry.delete(ask.name, by=desk.by)
    return {}


def set_tag(ask: TagModel, desk: Desk) -> Answer:
    desk.platform.registry.tag(ask.name, {ask.key: ask.value}, by=desk.by)
    return {}


def delete_tag(ask: TagModel, desk: Desk) -> Answer:
    desk.platform.registry.tag(ask.name, {ask.key: None}, by=desk.by)
    return {}


def set_alias(ask: AliasModel, desk: Desk) -> Answer:
    if ask.alias.lower() == _LATEST or _NUMBERED.fullmatch(ask.alias):
        raise Invalid(f"the alias {ask.alias!r} is reserved: it means a version by itself")
    desk.platform.registry.alias(ask.name, ask.alias, versions.number_of(ask.version), by=desk.by)
    return {}


def delete_alias(ask: AliasModel, desk: Desk) -> Answer:
    desk.platform.registry.alias(ask.name, ask.alias, None, by=desk.by)
    return {}


def by_alias(ask: AliasModel, desk: Desk) -> Answer:
    model = desk.platform.registry.model(ask.name)
    if ask.alias.lower() == _LATEST:
        newest = max(desk.platform.registry.versions(ask.name), key=lambda version: version.number, default=None)
        if newest is not None:
            return {"model_version": versions.shown(newest, model)}
    if ask.alias not in model.aliases:
        raise Invalid(f"registered model {ask.name!r} has no alias {ask.alias[:100]!r}")
    found = desk.platform.registry.registered(ask.name, model.aliases[ask.alias])
    return {"model_version": versions.shown(found, model)}


def latest_versions(ask: LatestVersions, desk: Desk) -> Answer:
    model = desk.platform.registry.model(ask.name)
    stages = {versions.stage_of(stage) for stage in ask.stages}
    return {"model_versions": _latest(desk.platform, model, stages)}


def search(ask: SearchModels, desk: Desk) -> Answer:
    checked_most(ask.max_results, 1000)
    where, order = parsed_filter(ask.filter, MODELS), parsed_order(ask.order_by, MODELS)
    models = desk.platform.registry.models(only_texts(where, "name"))
    if not any(_of_prompts(condition) for condition in where):
        models = [model for model in models if _PROMPT not in model.tags]
    where = tuple(condition for condition in where if not _of_models(condition))
    found = [model for model in models if fits(model, where, _values)]
    page = page_of(found, [*by(order, _values), By(lambda model: model.name)], ask)
    return with_next({"registered_models": [shown(desk.platform, model) for model in page.items]}, page.next)


def shown(platform: Platform, model: Model) -> Answer:
    created = ms(model.created_at)
    return present(
        name=model.name,
        creation_timestamp=created,
        last_updated_timestamp=ms(model.updated_at) or created,
        description=model.about or None,
        latest_versions=_latest(platform, model, set()),
        tags=pairs(model.tags),
        aliases=[{"alias": alias, "version": str(number)} for alias, number in sorted(model.aliases.items())],
    )


def _latest(platform: Platform, model: Model, stages: set[str]) -> list[Answer]:
    """The newest version in each stage, or in each of `stages`."""
    newest: dict[str, Answer] = {}
    for version in sorted(platform.registry.versions(model.name), key=lambda version: -version.number):
        found = versions.shown(version, model)
        newest.setdefault(found["current_stage"], found)
    return [version for stage, version in newest.items() if not stages or stage in stages]


def _of_prompts(condition: Condition) -> bool:
    return condition.field.name == _PROMPT and not _of_models(condition)


def _of_models(condition: Condition) -> bool:
    """Clients so ask for what is no prompt, which has no such tag at all."""
    return condition.field.name == _PROMPT and condition.operator is Operator.NOT_EQUAL


def _values(model: Model, field: Field) -> list[Any]:
    if field.kind is Kind.TAG:
        return [model.tags[field.name]] if field.name in model.tags else []
    known = {
        "name": model.name,
        "creation_timestamp": ms(model.created_at),
        "last_updated_timestamp": ms(model.updated_at or model.created_at),
    }
    return [known[field.name]]


ENDPOINTS = (
    Endpoint("POST", "registered-models/create", CreateModel, create),
    Endpoint("GET", "registered-models/get", ModelName, get),
    Endpoint("POST", "registered-models/rename", RenameModel, rename),
    Endpoint("PATCH", "registered-models/update", DescribeModel, describe),
    Endpoint("DELETE", "registered-models/delete", ModelName, delete),
    Endpoint("GET", "registered-models/search", SearchModels, search),
    Endpoint("POST", "registered-models/search", SearchModels, search),
    Endpoint("POST", "registered-models/set-tag", TagModel, set_tag),
    Endpoint("DELETE", "registered-models/delete-tag", TagModel, delete_tag),
    Endpoint("POST", "registered-models/alias", AliasModel, set_alias),
    Endpoint("DELETE", "registered-models/alias", AliasModel, delete_alias),
    Endpoint("GET", "registered-models/alias", AliasModel, by_alias),
    Endpoint("POST", "registered-models/get-latest-versions", LatestVersions, latest_versions),
    Endpoint("GET", "registered-models/get-latest-versions", LatestVersions, latest_versions),
)
