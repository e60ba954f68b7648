"""MLflow's own SQLite database as a source, read without MLflow and without a server. Traces are not read this way."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from headway.client.mlflow.source import MOST_RUNS, File, Points, Told
from headway.client.mlflow.values import measured
from headway.errors import Invalid, NotFound

_CHUNK_BYTES = 1 << 20
_AT_ONCE = 25_000
_STATUSES = {1: "LOGGED_MODEL_PENDING", 2: "LOGGED_MODEL_READY", 3: "LOGGED_MODEL_UPLOAD_FAILED"}
_DATASET = {
    "name": "name", "digest": "digest", "dataset_source_type": "source_type", "dataset_source": "source",
    "dataset_schema": "schema", "dataset_profile": "profile",
}  # fmt: skip


class DatabaseSource:
    """`artifacts` is the folder that the server of this database kept files in, for those whose address is
    `mlflow-artifacts:/...`. Raises `Invalid` when there is no such database."""

    def __init__(self, path: Path, artifacts: Path | None) -> None:
        self.uri = f"sqlite:///{path}"
        self._artifacts, self._lock = artifacts, threading.Lock()
        try:
            self._database = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False, timeout=30
            )
            self._database.row_factory = sqlite3.Row
            self._tables = {row["name"] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.Error as error:
            raise Invalid(f"{path} cannot be read as a SQLite database: {error}") from error
        if not {"experiments", "runs", "metrics", "tags"} <= self._tables:
            self._database.close()
            raise Invalid(f"{path} is no database of MLflow: it has no runs")

    def experiments(self, *, deleted: bool) -> Iterator[Told]:
        for row in self._rows("SELECT * FROM experiments ORDER BY experiment_id"):
            if deleted or row["lifecycle_stage"] == "active":
                tags = self._pairs(
                    "SELECT key, value FROM experiment_tags WHERE experiment_id = ?", row["experiment_id"]
                )
                yield {**row, "experiment_id": str(row["experiment_id"]), "tags": tags}

    def runs(self, experiment: str, *, deleted: bool) -> Iterator[list[Told]]:
        stages = ("active", "deleted") if deleted else ("active", "active")
        after: tuple[Any, Any] = (-1, "")
        query = (
            "SELECT * FROM runs WHERE experiment_id = ? AND lifecycle_stage IN (?, ?)"
            f" AND (start_time, run_uuid) > (?, ?) ORDER BY start_time, run_uuid LIMIT {MOST_RUNS}"
        )
        while rows := self._rows(query, int(experiment), *stages, *after):
            yield [self._run(row) for row in rows]
            after = (rows[-1]["start_time"], rows[-1]["run_uuid"])

    def run(self, identifier: str) -> Told | None:
        rows = self._rows("SELECT * FROM runs WHERE run_uuid = ?", identifier)
        return self._run(rows[0]) if rows else None

    def _run(self, row: Told) -> Told:
        run = row["run_uuid"]
        latest = self._rows("SELECT * FROM latest_metrics WHERE run_uuid = ? ORDER BY key", run)
        info = {
            "run_id": run, "run_uuid": run, "run_name": row["name"] or "", "experiment_id": str(row["experiment_id"]),
            "artifact_uri": row["artifact_uri"], **{k: row[k] for k in ("user_id", "status", "start_time", "end_time")},
            "lifecycle_stage": row["lifecycle_stage"],
        }  # fmt: skip
        data = {
            "metrics": [
                {k: each[k] for k in ("key", "timestamp", "step")} | {"value": _value(each)} for each in latest
            ],
            "params": self._pairs("SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key", run),
            "tags": self._pairs("SELECT key, value FROM tags WHERE run_uuid = ? ORDER BY key", run),
        }
        used = {"model_inputs": self._uses("RUN_INPUT", run), "dataset_inputs": self._inputs(run)}
        return {"info": info, "data": data, "inputs": used, "outputs": {"model_outputs": self._uses("RUN_OUTPUT", run)}}

    def _inputs(self, run: str) -> list[Told]:
        if "inputs" not in self._tables:
            return []
        query = (
            "SELECT d.*, i.input_uuid FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
            " WHERE i.destination_id = ? AND i.source_type = 'DATASET'"
        )
        return [
            {
                "dataset": {told: row[name] for name, told in _DATASET.items()},
                "tags": self._pairs("SELECT name, value FROM input_tags WHERE input_uuid = ?", row["input_uuid"]),
            }
            for row in self._rows(query, run)
        ]

    def _uses(self, kind: str, run: str) -> list[Told]:
        if "logged_models" not in self._tables:
            return []
        query = "SELECT destination_id, step FROM inputs WHERE source_id = ? AND source_type = ?"
        return [{"model_id": row["destination_id"], "step": row["step"]} for row in self._rows(query, run, kind)]

    def histories(self, runs: list[str], key: str) -> Iterator[tuple[str, Points]]:
        query = (
            "SELECT step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ?"
            f" ORDER BY timestamp, step, value LIMIT {_AT_ONCE} OFFSET ?"
        )
        for run in runs:
            start = 0
            while rows := self._rows(query, run, key, start):
                yield run, Points(
                    steps=[row["step"] for row in rows], at_ms=[row["timestamp"] for row in rows],
                    values=[measured(_value(row)) for row in rows],
                )  # fmt: skip
                start += len(rows)

    def logged_models(self, experiment: str) -> Iterator[Told]:
        if "logged_models" not in self._tables:
            return
        query = "SELECT * FROM logged_models WHERE experiment_id = ? AND lifecycle_stage = 'active'"
        for row in self._rows(query, int(experiment)):
            model = row["model_id"]
            tags = self._pairs("SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?", model)
            info = {
                **row, "experiment_id": experiment, "artifact_uri": row["artifact_location"], "tags": tags,
                "status": _STATUSES.get(row["status"], ""),
            }  # fmt: skip
            measures = self._rows("SELECT * FROM logged_model_metrics WHERE model_id = ?", model)
            params = self._pairs("SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?", model)
            data = {
                "params": params,
                "metrics": [
                    {
                        "key": each["metric_name"], "value": each["metric_value"], "step": each["metric_step"],
                        "timestamp": each["metric_timestamp_ms"], **{k: each[k] for k in _MEASURED},
                    }
                    for each in measures
                ],
            }  # fmt: skip
            yield {"info": info, "data": data}

    def files_of_run(self, run: Told) -> Iterator[File]:
        return self._files(run["info"]["artifact_uri"])

    def files_of_model(self, model: Told) -> Iterator[File]:
        return self._files(model["info"]["artifact_uri"])

    def open_of_run(self, run: Told, path: str) -> AbstractContextManager[Iterator[bytes]]:
        return _opened(self._folder(run["info"]["artifact_uri"]) / path)

    def open_of_model(self, model: Told, path: str) -> AbstractContextManager[Iterator[bytes]]:
        return _opened(self._folder(model["info"]["artifact_uri"]) / path)

    def traces(self, experiment: str) -> Iterator[list[Told]]:
        return iter(())

    def unread_traces(self, experiment: str) -> int:
        if "trace_info" not in self._tables:
            return 0
        query = "SELECT count(*) AS number FROM trace_info WHERE experiment_id = ?"
        return int(self._rows(query, int(experiment))[0]["number"])

    def spans(self, trace: Told) -> bytes | None:
        return None

    def models(self) -> Iterator[Told]:
        for row in self._rows("SELECT * FROM registered_models ORDER BY name"):
            name = row["name"]
            query = "SELECT * FROM model_versions WHERE name = ? AND current_stage != 'Deleted_Internal'"
            aliases = []
            if "registered_model_aliases" in self._tables:
                aliases = self._rows("SELECT alias, version FROM registered_model_aliases WHERE name = ?", name)
            yield {
                **_registered(row),
                "tags": self._pairs("SELECT key, value FROM registered_model_tags WHERE name = ?", name),
                "aliases": aliases,
                "versions": [
                    _registered(version)
                    | {
                        "tags": self._pairs(
                            "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?",
                            name, version["version"],
                        )
                    }
                    for version in self._rows(query, name)
                ],
            }  # fmt: skip

    def close(self) -> None:
        self._database.close()

    def _files(self, address: str) -> Iterator[File]:
        folder = self._folder(address)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield File(path.relative_to(folder).as_posix(), path.stat().st_size)

    def _folder(self, address: str) -> Path:
        parts = urlsplit(address)
        if parts.scheme == "mlflow-artifacts" and self._artifacts is not None:
            return self._artifacts / parts.path.lstrip("/")
        if parts.scheme not in ("", "file"):
            raise NotFound(f"they are at {address}; name the folder with --artifacts, or import from the server")
        return Path(unquote(parts.path))

    def _rows(self, query: str, *values: Any) -> list[Told]:
        with self._lock:
            return [dict(row) for row in self._database.execute(query, values)]

    def _pairs(self, query: str, *values: Any) -> list[Told]:
        return [dict(zip(("key", "value"), row.values(), strict=True)) for row in self._rows(query, *values)]


_MEASURED = ("run_id", "dataset_name", "dataset_digest")


def _registered(row: Told) -> Told:
    return row | {"creation_timestamp": row["creation_time"], "last_updated_timestamp": row["last_updated_time"]}


def _value(row: Told) -> float:
    return float("nan") if row["is_nan"] else row["value"]


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield iter(lambda: file.read(_CHUNK_BYTES), b"")
