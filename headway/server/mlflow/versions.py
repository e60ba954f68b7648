"""Versions of registered models, as MLflow's clients speak of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from headway.errors import Invalid
from headway.lifecycle.models.records import Model, ModelVersion, Register, Registration
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.matching import fits, only_texts
from headway.lifecycle.runs.places import By, by
from headway.lifecycle.runs.search import Field, Kind, Vocabulary, parsed_filter, parsed_order
from headway.server.mlflow.experiments import shown_id
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.runs import experiment_named, native_model, shown_model
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

_STAGES = {stage.lower(): stage for stage in ("None", "Staging", "Production", "Archived")}
VERSIONS = Vocabulary(
    texts=frozenset({"name", "run_id", "source_path"}),
    numbers=frozenset({"version_number", "creation_timestamp", "last_updated_timestamp"}),
    listed=frozenset({"name", "run_id"}),
    aliases={"version": "version_number", "timestamp": "creation_timestamp"},
)

_NEWEST: tuple[By[Registration | ModelVersion], ...] = (
    By(lambda version: ms(version.created_at), descending=True),
    By(lambda version: version.number, descending=True),
    By(lambda version: version.id, descending=True),
)


class CreateVersion(Ask):
    name: str
    source: str
    run_id: str = ""
    model_id: str = ""
    run_link: str = ""
    description: str = ""
    tags: list[KeyValue] = []


class Version(Ask):
    name: str
    version: str


class DescribeVersion(Version):
    description: str = ""


class StageVersion(Version):
    stage: str
    archive_existing_versions: bool = False


class TagVersion(Version):
    key: str
    value: str = ""


class SearchVersions(Ask):
    filter: str = ""
    max_results: int = 200_000
    order_by: list[str] = []
    page_token: str = ""


def create(ask: CreateVersion, desk: Desk) -> Answer:
    """A version of what a run or a logged model of this server holds; other sources are refused."""
    source, run, model = _located(desk.platform, ask)
    command = Register(
        model=ask.name, source=source, run=run, logged_model=model, run_link=ask.run_link,
        about=ask.description, tags=tags_of(ask.tags),
    )  # fmt: skip
    return _answer(desk, desk.platform.registry.register(command, by=desk.by))


def _located(platform: Platform, ask: CreateVersion) -> tuple[str, str, str]:
    """Where the files are as an address of this server, and the ids of the run and the logged model they are of."""
    run, model = ask.run_id, native_model(ask.model_id) if ask.model_id else ""
    source = ask.source
    if source.startswith("models:/") and "/" not in source.removeprefix("models:/") and "@" not in source:
        model = native_model(source.removeprefix("models:/"))
    if model:
        found = platform.logged_models.get(model)
        experiment = shown_id(platform.experiments.get(found.experiment))
        root = f"mlflow-artifacts:/{experiment}/models/{shown_model(model)}/artifacts"
        run = run or found.run
        if source.startswith("models:/"):
            return root, run, model
        if source == root or source.startswith(root + "/"):
            return _checked(source), run, model
    if run:
        experiment = shown_id(experiment_named(platform, platform.runs.get(run).experiment))
        root = f"mlflow-artifacts:/{experiment}/{run}/artifacts"
        if source.startswith(f"runs:/{run}/"):
            return _checked(root + source.removeprefix(f"runs:/{run}")), run, model
        if source == root or source.startswith(root + "/"):
            return _checked(source), run, model
    if source.startswith("models:/"):
        return source, run, model
    if ask.source.startswith(("dummy-source", "prompt-template")):
        return source, run, model
    raise Invalid(
        f"source {ask.source[:200]!r} is not inside the run or the logged model it names; "
        "log the model to this server first, then register that"
    )


def _checked(source: str) -> str:
    parts = urlsplit(source).path.split("/")
    if ".." in parts or "%" in source or "\\" in source:
        raise Invalid(f"source {source[:200]!r} leads elsewhere")
    return source


def get(ask: Version, desk: Desk) -> Answer:
    return _answer(desk, desk.platform.registry.registered(ask.name, number_of(ask.version)))


def describe(ask: DescribeVersion, desk: Desk) -> Answer:
    number = number_of(ask.version)
    return _answer(desk, desk.platform.registry.amend(ask.name, number, about=ask.description, by=desk.by))


def stage(ask: StageVersion, desk: Desk) -> Answer:
    number, stage = number_of(ask.version), stage_of(ask.stage)
    moved = desk.platform.registry.amend(ask.name, number, stage=stage, by=desk.by)
    if ask.archive_existing_versions and stage in ("Staging", "Production"):
        for other in desk.platform.registry.versions(ask.name):
            if isinstance(other, Registration) and other.number != number and other.stage == stage:
                desk.platform.registry.amend(ask.name, other.number, stage="Archived", by=desk.by)
    return _answer(desk, moved)


def delete(ask: Version, desk: Desk) -> Answer:
    desk.platform.registry.remove(ask.name, number_of(ask.version), by=desk.by)
    return {}


def set_tag(ask: TagVersion, desk: Desk) -> Answer:
    desk.platform.registry.amend(ask.name, number_of(ask.version), tags={ask.key: ask.value}, by=desk.by)
    return {}


def delete_tag(ask: TagVersion, desk: Desk) -> Answer:
    desk.platform.registry.amend(ask.name, number_of(ask.version), tags={ask.key: None}, by=desk.by)
    return {}


def download_uri(ask: Version, desk: Desk) -> Answer:
    found = desk.platform.registry.registered(ask.name, number_of(ask.version))
    return {"artifact_uri": source_of(found)}


def search(ask: SearchVersions, desk: Desk) -> Answer:
    checked_most(ask.max_results, 200_000)
    where, order = parsed_filter(ask.filter, VERSIONS), parsed_order(ask.order_by, VERSIONS)
    registry, names = desk.platform.registry, only_texts(where, "name")
    models = {model.name: model for model in registry.models(names)}
    found = [
        version
        for version in (registry.versions() if names is None else registry.versions_of(names))
        if version.model in models and fits(version, where, _values)
    ]
    page = page_of(found, [*by(order, _values), *_NEWEST], ask)
    return with_next({"model_versions": [shown(version, models[version.model]) for version in page.items]}, page.next)


def shown(version: Registration | ModelVersion, model: Model) -> Answer:
    created = ms(version.created_at)
    aliases = sorted(alias for alias, number in model.aliases.items() if number == version.number)
    answer = present(
        name=version.model,
        version=str(version.number),
        creation_timestamp=created,
        last_updated_timestamp=created,
        current_stage="None",
        status="READY",
        source=source_of(version),
        run_id=version.run or None,
        aliases=aliases,
    )
    if isinstance(version, ModelVersion):
        return answer | present(description=version.note or None, tags=[])
    return answer | present(
        last_updated_timestamp=ms(version.updated_at) or created,
        current_stage=version.stage,
        description=version.about or None,
        user_id=version.registered_by,
        run_link=version.run_link or None,
        model_id=shown_model(version.logged_model) if version.logged_model else None,
        tags=pairs(version.tags),
    )


def source_of(version: Registration | ModelVersion) -> str:
    return f"headway:/{version.id}" if isinstance(version, ModelVersion) else version.source


def number_of(version: str) -> int:
    if not (version.isascii() and version.isdecimal()) or not 0 < len(version) <= 9:
        raise Invalid(f"{version[:60]!r} is no version: it takes a number, as in 1")
    return int(version)


def stage_of(stage: str) -> str:
    if stage.lower() not in _STAGES:
        raise Invalid(f"{stage[:60]!r} is no stage; there are: {', '.join(_STAGES.values())}")
    return _STAGES[stage.lower()]


def _answer(desk: Desk, version: Registration | ModelVersion) -> Answer:
    return {"model_version": shown(version, desk.platform.registry.model(version.model))}


def _values(version: Registration | ModelVersion, field: Field) -> list[Any]:
    tags = version.tags if isinstance(version, Registration) else {}
    if field.kind is Kind.TAG:
        return [tags[field.name]] if field.name in tags else []
    updated = version.updated_at if isinstance(version, Registration) else None
    known = {
        "name": version.model, "run_id": version.run, "source_path": source_of(version),
        "version_number": version.number, "creation_timestamp": ms(version.created_at),
        "last_updated_timestamp": ms(updated or version.created_at),
    }  # fmt: skip
    return [known[field.name]]


ENDPOINTS = (
    Endpoint("POST", "model-versions/create", CreateVersion, create),
    Endpoint("GET", "model-versions/get", Version, get),
    Endpoint("PATCH", "model-versions/update", DescribeVersion, describe),
    Endpoint("POST", "model-versions/transition-stage", StageVersion, stage),
    Endpoint("DELETE", "model-versions/delete", Version, delete),
    Endpoint("POST", "model-versions/set-tag", TagVersion, set_tag),
    Endpoint("DELETE", "model-versions/delete-tag", TagVersion, delete_tag),
    Endpoint("GET", "model-versions/get-download-uri", Version, download_uri),
    Endpoint("GET", "model-versions/search", SearchVersions, search),
    Endpoint("POST", "model-versions/search", SearchVersions, search),
)
