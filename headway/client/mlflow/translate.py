"""MLflow's words in ours: runs, logged models, traces and registered models as they are handed in."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from headway.client.mlflow.source import Told
from headway.kernel.records import digest, encode
from headway.lifecycle.models.imported import ImportedModel, ImportedVersion
from headway.lifecycle.runs.imported import (
    ImportedExperiment,
    ImportedLoggedModel,
    ImportedRun,
    ImportedTrace,
)
from headway.lifecycle.runs.logged import LoggedModelState, ModelMetric
from headway.lifecycle.runs.records import Input, ModelUse, RunState
from headway.lifecycle.runs.rules import LONGEST_KEY, LONGEST_VALUE

PARENT_TAG = "mlflow.parentRunId"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES = {
    "RUNNING": RunState.RUNNING, "SCHEDULED": RunState.PENDING, "FINISHED": RunState.FINISHED,
    "FAILED": RunState.FAILED, "KILLED": RunState.CANCELLED,
}  # fmt: skip
_MODEL_STATES = {
    "LOGGED_MODEL_READY": LoggedModelState.READY, "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelState.FAILED,
}  # fmt: skip
_SPANS_TAGS = ("mlflow.trace.spansLocation", "mlflow.artifactLocation")
Leave = Callable[[str, str], None]
"""Told what is left out, and why."""
Place = Callable[[str], str]
"""Our id of something with an id there, or an empty string when it is not here."""


def moment(ms: Any) -> datetime:
    return _EPOCH + timedelta(milliseconds=int(ms or 0))


def digest_of(told: Told) -> str:
    """Of all that a source says of something, in whatever order it says so."""
    return digest(encode({name: _ordered(value) for name, value in told.items()}))


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _ordered(each) for name, each in value.items()}
    if isinstance(value, list):
        return sorted((_ordered(each) for each in value), key=encode)
    return repr(value) if isinstance(value, float) else value


def experiment_of(told: Told) -> ImportedExperiment:
    return ImportedExperiment(
        source_id=str(told["experiment_id"]), name=told["name"], created_at=moment(told.get("creation_time")),
        tags=pairs(told.get("tags")), deleted=told.get("lifecycle_stage") == "deleted",
    )  # fmt: skip


def run_of(told: Told, experiment: str, run_at: Place, model_at: Place, leave: Leave) -> ImportedRun:
    info, data = told["info"], told.get("data", {})
    state = _STATES.get(info.get("status", ""), RunState.FAILED)
    tags = pairs(data.get("tags"))
    parent = run_at(tags[PARENT_TAG]) if tags.get(PARENT_TAG) else ""
    if parent:
        tags[PARENT_TAG] = parent
    where = f"run {info['run_id']}"
    deleted = info.get("lifecycle_stage") == "deleted"
    over = deleted or state not in (RunState.RUNNING, RunState.PENDING)
    return ImportedRun(
        source_id=info["run_id"], experiment=experiment, started_at=moment(info.get("start_time")), state=state,
        digest=digest_of(told) if over else "", name=info.get("run_name", "") or tags.get("mlflow.runName", ""),
        parent=parent, user=info.get("user_id", ""),
        params=_fitting(pairs(data.get("params")), f"{where}: param", leave),
        tags=_fitting(tags, f"{where}: tag", leave),
        inputs=tuple(_input(each) for each in told.get("inputs", {}).get("dataset_inputs", [])),
        models_read=_uses(told.get("inputs", {}).get("model_inputs", []), model_at),
        models_written=_uses(told.get("outputs", {}).get("model_outputs", []), model_at),
        ended_at=moment(info["end_time"]) if info.get("end_time") else None,
        deleted=deleted,
    )  # fmt: skip


def started_at(run: Told) -> datetime:
    return moment(run["info"].get("start_time"))


def metric_keys(run: Told) -> list[str]:
    return [metric["key"] for metric in run.get("data", {}).get("metrics", [])]


def _input(told: Told) -> Input:
    dataset = told["dataset"]
    fields = ("name", "digest", "source_type", "source", "schema", "profile")
    return Input(**{name: str(dataset.get(name) or "") for name in fields}, tags=pairs(told.get("tags")))


def _uses(told: Iterable[Told], model_at: Place) -> tuple[ModelUse, ...]:
    found = [(model_at(each["model_id"]), int(each.get("step", 0))) for each in told]
    return tuple(ModelUse(model=model, step=step) for model, step in found if model)


def logged_model_of(told: Told, experiment: str, run_at: Place, leave: Leave) -> ImportedLoggedModel:
    info, data = told["info"], told.get("data", {})
    where = f"logged model {info['model_id']}"
    state = _MODEL_STATES.get(info.get("status", ""), LoggedModelState.PENDING)
    created = moment(info.get("creation_timestamp_ms"))
    return ImportedLoggedModel(
        source_id=info["model_id"], experiment=experiment, name=info.get("name") or info["model_id"],
        created_at=created, state=state,
        updated_at=moment(info.get("last_updated_timestamp_ms") or info.get("creation_timestamp_ms")),
        digest=digest_of(told) if state is not LoggedModelState.PENDING else "",
        run=run_at(info["source_run_id"]) if info.get("source_run_id") else "", kind=info.get("model_type") or "",
        params=_fitting(pairs(data.get("params")), f"{where}: param", leave),
        tags=_fitting(pairs(info.get("tags")), f"{where}: tag", leave),
        metrics=tuple(_model_metric(each, run_at) for each in data.get("metrics", [])),
    )  # fmt: skip


def _model_metric(told: Told, run_at: Place) -> ModelMetric:
    return ModelMetric(
        key=told["key"], value=repr(float(told["value"])), at=moment(told.get("timestamp")),
        step=int(told.get("step", 0)), run=run_at(told["run_id"]) if told.get("run_id") else "",
        dataset_name=told.get("dataset_name") or "", dataset_digest=told.get("dataset_digest") or "",
    )  # fmt: skip


def trace_of(told: Told, experiment: str, shown: str, leave: Leave) -> ImportedTrace:
    """`shown` is the id of the experiment as MLflow's clients know it here."""
    request = told["trace_id"]
    tags = {key: value for key, value in told.get("tags", {}).items() if key not in _SPANS_TAGS}
    tags["mlflow.artifactLocation"] = f"mlflow-artifacts:/{shown}/traces/{request}/artifacts"
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": shown}}
    rest = {name: value for name, value in told.items() if name not in ("tags", "assessments")}
    opinions = {each.get("assessment_id", ""): each for each in told.get("assessments", [])}
    return ImportedTrace(
        request=request, experiment=experiment,
        created_at=msgspec.convert(told.get("request_time", "1970-01-01T00:00:00Z"), datetime),
        told=rest | {"trace_location": place}, tags=_fitting(tags, f"trace {request}: tag", leave),
        assessments={identifier: each for identifier, each in opinions.items() if identifier},
    )  # fmt: skip


def model_of(told: Told, version_at: Callable[[Told], tuple[str, str, str]]) -> ImportedModel:
    """`version_at` tells of a version its source here, its run and its logged model."""
    versions = [_version(each, *version_at(each)) for each in told["versions"]]
    return ImportedModel(
        name=told["name"], created_at=moment(told.get("creation_timestamp")),
        updated_at=moment(told.get("last_updated_timestamp")), about=told.get("description") or "",
        tags=pairs(told.get("tags")),
        aliases={each["alias"]: int(each["version"]) for each in told.get("aliases", [])},
        versions=tuple(sorted(versions, key=lambda version: version.number)),
    )  # fmt: skip


def _version(told: Told, source: str, run: str, model: str) -> ImportedVersion:
    return ImportedVersion(
        number=int(told["version"]), source=source, created_at=moment(told.get("creation_timestamp")),
        updated_at=moment(told.get("last_updated_timestamp")), run=run, logged_model=model,
        run_link=told.get("run_link") or "", about=told.get("description") or "",
        stage=told.get("current_stage") or "None", tags=pairs(told.get("tags")),
        registered_by=told.get("user_id") or "",
    )  # fmt: skip


def folder_in(source: str, run: str) -> str | None:
    """What a version's source names below the artifacts of `run`; None when it lies elsewhere."""
    if source.startswith(f"runs:/{run}"):
        return source.removeprefix(f"runs:/{run}").strip("/")
    found = re.search(rf"/{re.escape(run)}/artifacts(?:/(.*))?$", source)
    return posixpath.normpath(found[1] or "").strip("/.") if found else None


def pairs(told: Iterable[Told] | None) -> dict[str, str]:
    return {each["key"]: str(each.get("value", "")) for each in told or ()}


def _fitting(texts: dict[str, str], where: str, leave: Leave) -> dict[str, str]:
    """Those that are not too long to be kept; `leave` hears of the others."""
    fits = {key: value for key, value in texts.items() if 0 < len(key) <= LONGEST_KEY and len(value) <= LONGEST_VALUE}
    for key in texts.keys() - fits.keys():
        leave(f"{where} {key[:60]!r}", f"longer than {LONGEST_VALUE} characters, or its name than {LONGEST_KEY}")
    return fits
