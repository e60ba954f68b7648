"""All that a source tells, with names in place of ids, so that an original and what was made of it can be compared."""

from __future__ import annotations

from typing import Any

from headway.client.mlflow.source import Source, Told
from headway.client.mlflow.values import measured
from headway.kernel.records import digest

_OURS = "headway.import."


def told_by(source: Source) -> dict[str, Any]:
    """Everything, deleted or not. Values are texts where they might be NaN; files are given by their digest."""
    experiments = list(source.experiments(deleted=True))
    runs = {each["experiment_id"]: _runs(source, each["experiment_id"]) for each in experiments}
    names = {told["info"]["run_id"]: told["info"]["run_name"] for found in runs.values() for told in found}
    models = [model for each in experiments for model in source.logged_models(each["experiment_id"])]
    names |= {model["info"]["model_id"]: model["info"]["name"] for model in models}
    return {
        "experiments": {each["name"]: (each["lifecycle_stage"], _pairs(each.get("tags"))) for each in experiments},
        "runs": {
            (each["name"], told["info"]["run_name"]): _run(source, told, names)
            for each in experiments
            for told in runs[each["experiment_id"]]
        },
        "logged models": {model["info"]["name"]: _logged_model(source, model, names) for model in models},
        "registered models": {each["name"]: _model(each, names) for each in source.models()},
        "traces": {
            each["trace_id"]: _trace(source, each)
            for experiment in experiments
            for page in source.traces(experiment["experiment_id"])
            for each in page
        },
    }


def _runs(source: Source, experiment: str) -> list[Told]:
    return [run for page in source.runs(experiment, deleted=True) for run in page]


def _run(source: Source, told: Told, names: dict[str, str]) -> dict[str, Any]:
    info, data = told["info"], told["data"]
    tags = _pairs(data.get("tags"))
    if "mlflow.parentRunId" in tags:
        tags["mlflow.parentRunId"] = names[tags["mlflow.parentRunId"]]
    shown = ("status", "start_time", "end_time", "user_id", "lifecycle_stage")
    latest = data.get("metrics", [])
    keys = sorted(metric["key"] for metric in latest)
    return {
        **{name: info.get(name) for name in shown},
        "tags": tags,
        "params": _pairs(data.get("params")),
        "latest": sorted((m["key"], repr(measured(m["value"])), m["step"], m["timestamp"]) for m in latest),
        "histories": {key: _history(source, info["run_id"], key) for key in keys},
        "inputs": [
            ({k: v for k, v in each["dataset"].items() if v}, _pairs(each.get("tags")))
            for each in told.get("inputs", {}).get("dataset_inputs", [])
        ],
        "models": [
            (names[each["model_id"]], each.get("step", 0))
            for each in told.get("outputs", {}).get("model_outputs", [])
        ],
        "files": _files(source.files_of_run(told), lambda path: source.open_of_run(told, path)),
    }  # fmt: skip


def _history(source: Source, run: str, key: str) -> list[tuple[int, int, str]]:
    return sorted(
        (step, at_ms, repr(value))
        for _, points in source.histories([run], key)
        for step, at_ms, value in zip(points.steps, points.at_ms, points.values, strict=True)
    )


def _files(listed: Any, opened: Any) -> dict[str, str]:
    found = {}
    for file in listed:
        with opened(file.path) as chunks:
            content = b"".join(chunks)
        assert file.size in (-1, len(content)), file
        found[file.path] = digest(content)
    return found


def _logged_model(source: Source, told: Told, names: dict[str, str]) -> dict[str, Any]:
    info, data = told["info"], told.get("data", {})
    shown = ("creation_timestamp_ms", "last_updated_timestamp_ms", "status", "model_type")
    return {
        **{name: info.get(name) or None for name in shown},
        "run": names.get(info.get("source_run_id", "")),
        "tags": _pairs(info.get("tags")),
        "params": _pairs(data.get("params")),
        "metrics": sorted(
            (m["key"], repr(float(m["value"])), m.get("step", 0), m["timestamp"], names.get(m.get("run_id", "")))
            for m in data.get("metrics", [])
        ),
        "files": _files(source.files_of_model(told), lambda path: source.open_of_model(told, path)),
    }


def _model(told: Told, names: dict[str, str]) -> dict[str, Any]:
    return {
        "created": told["creation_timestamp"],
        "about": told.get("description") or "",
        "tags": _pairs(told.get("tags")),
        "aliases": {each["alias"]: int(each["version"]) for each in told.get("aliases", [])},
        "versions": {
            int(each["version"]): {
                "created": each["creation_timestamp"],
                "stage": each.get("current_stage", "None"),
                "about": each.get("description") or "",
                "run": names.get(each.get("run_id", "")),
                "model": names.get(each.get("model_id") or each["source"].removeprefix("models:/")),
                "tags": _pairs(each.get("tags")),
            }
            for each in told["versions"]
        },
    }


def _trace(source: Source, told: Told) -> dict[str, Any]:
    spans = source.spans(told)
    assert spans is not None
    shown = ("request_time", "execution_duration", "state", "request_preview", "response_preview", "client_request_id")
    return {**{name: told.get(name) or None for name in shown}, "spans": digest(spans)}


def _pairs(told: Any) -> dict[str, str]:
    return {each["key"]: each.get("value", "") for each in told or () if not each["key"].startswith(_OURS)}
