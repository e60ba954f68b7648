"""A whole MLflow tracking server, 2.x or 3.x, as a source; Headway is one of these too."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from headway.client.mlflow.source import MOST_RUNS, File, Points, Told
from headway.client.mlflow.values import measured
from headway.client.mlflow.wire import Wire
from headway.errors import Invalid, NotFound
from headway.kernel.naming import checked_path

_V2, _V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
_AJAX = "/ajax-api/2.0/mlflow"
_PROXY = "/api/2.0/mlflow-artifacts/artifacts"
_SCHEME = "mlflow-artifacts:"
_PROMPTS = "tags.`mlflow.prompt.is_prompt` = 'true'"
"""Registered models that only this filter shows."""
_MOST_POINTS = 25_000


class ServerSource:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._bulk = True

    @property
    def uri(self) -> str:
        return self._wire.uri

    def experiments(self, *, deleted: bool) -> Iterator[Told]:
        ask = {"view_type": "ALL" if deleted else "ACTIVE_ONLY", "max_results": 1000}
        for page in self._pages(f"{_V2}/experiments/search", ask, "experiments"):
            yield from page

    def runs(self, experiment: str, *, deleted: bool) -> Iterator[list[Told]]:
        view = "ALL" if deleted else "ACTIVE_ONLY"
        ask = {
            "experiment_ids": [experiment], "run_view_type": view, "max_results": MOST_RUNS,
            "order_by": ["attributes.start_time ASC"],  # what begins meanwhile comes last, and moves no page
        }  # fmt: skip
        yield from self._pages(f"{_V2}/runs/search", ask, "runs")

    def run(self, identifier: str) -> Told | None:
        try:
            return dict(self._wire.get(f"{_V2}/runs/get", {"run_id": identifier})["run"])
        except (NotFound, Invalid, KeyError):
            return None

    def histories(self, runs: list[str], key: str) -> Iterator[tuple[str, Points]]:
        """For many runs at once where the answer holds them all, else one by one."""
        together = self._together(runs, key) if self._bulk and len(runs) > 1 else None
        if together is not None:
            for run in runs:
                yield run, _points([metric for metric in together if metric["run_id"] == run])
            return
        for run in runs:
            for page in self._history(run, key):
                yield run, _points(page)

    def _together(self, runs: list[str], key: str) -> list[Told] | None:
        try:
            told = self._wire.get(
                f"{_AJAX}/metrics/get-history-bulk",
                {"run_id": runs, "metric_key": key, "max_results": _MOST_POINTS},
            )
        except (NotFound, Invalid):
            self._bulk = False
            return None
        found: list[Told] = told.get("metrics", [])
        return found if len(found) < _MOST_POINTS else None

    def _history(self, run: str, key: str) -> Iterator[list[Told]]:
        token: str | None = None
        most: int | None = _MOST_POINTS
        while True:
            try:
                page = self._wire.get(
                    f"{_V2}/metrics/get-history",
                    {"run_id": run, "metric_key": key, "max_results": most, "page_token": token},
                )
            except Invalid:
                if most is None or token is not None:
                    raise
                most = None  # a file store has no pages
                continue
            yield page.get("metrics", [])
            token = page.get("next_page_token")
            if not token:
                return

    def logged_models(self, experiment: str) -> Iterator[Told]:
        try:
            ask = {"experiment_ids": [experiment], "max_results": 100}
            for page in self._pages(f"{_V2}/logged-models/search", ask, "models"):
                yield from page
        except (NotFound, Invalid):  # before version 3 there were none
            return

    def files_of_run(self, run: Told) -> Iterator[File]:
        identifier = run["info"]["run_id"]

        def listed(folder: str) -> list[Told]:
            told = self._wire.get(f"{_V2}/artifacts/list", {"run_id": identifier, "path": folder or None})
            return list(told.get("files", []))

        yield from _walk(listed)

    def files_of_model(self, model: Told) -> Iterator[File]:
        identifier = model["info"]["model_id"]

        def listed(folder: str) -> list[Told]:
            told = self._wire.get(
                f"{_V2}/logged-models/{quote(identifier, safe='')}/artifacts/directories",
                {"artifact_directory_path": folder or None},
            )
            return list(told.get("files", []))

        yield from _walk(listed)

    def open_of_run(self, run: Told, path: str) -> AbstractContextManager[Iterator[bytes]]:
        root = run["info"].get("artifact_uri", "")
        if root.startswith(_SCHEME):
            return self._wire.streamed(_proxied(root, path), {})
        return self._wire.streamed("/get-artifact", {"run_id": run["info"]["run_id"], "path": path})

    def open_of_model(self, model: Told, path: str) -> AbstractContextManager[Iterator[bytes]]:
        root = model["info"].get("artifact_uri", "")
        if root.startswith(_SCHEME):
            return self._wire.streamed(_proxied(root, path), {})
        identifier = quote(model["info"]["model_id"], safe="")
        return self._wire.streamed(f"{_AJAX}/logged-models/{identifier}/artifacts/files", {"artifact_file_path": path})

    def traces(self, experiment: str) -> Iterator[list[Told]]:
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        try:
            yield from self._pages(f"{_V3}/traces/search", {"locations": [place], "max_results": 100}, "traces")
        except (NotFound, Invalid):  # 2.x has others, and the oldest none
            return

    def unread_traces(self, experiment: str) -> int:
        return 0

    def spans(self, trace: Told) -> bytes | None:
        tags = trace.get("tags", {})
        root = tags.get("mlflow.artifactLocation", "")
        if root.startswith(_SCHEME) and "mlflow.trace.spansLocation" not in tags:
            try:
                return self._wire.download(_proxied(root, "traces.json"), {})
            except (NotFound, Invalid):
                pass
        try:
            return self._wire.download(f"{_AJAX}/get-trace-artifact", {"request_id": trace["trace_id"]})
        except (NotFound, Invalid):
            return None

    def models(self) -> Iterator[Told]:
        yield from self._models({})
        try:
            yield from self._models({"filter": _PROMPTS})
        except (NotFound, Invalid):  # before version 3 there were none
            return

    def _models(self, ask: dict[str, Any]) -> Iterator[Told]:
        asked = {"max_results": 100, **ask}
        for page in self._pages(f"{_V2}/registered-models/search", asked, "registered_models", get=True):
            for found in page:
                mark = '"' if "'" in found["name"] else "'"
                of_it = {"filter": f"name={mark}{found['name']}{mark}", "max_results": 1000}
                pages = self._pages(f"{_V2}/model-versions/search", of_it, "model_versions", get=True)
                yield found | {"versions": [version for versions in pages for version in versions]}

    def close(self) -> None:
        self._wire.close()

    def _pages(self, path: str, ask: dict[str, Any], name: str, *, get: bool = False) -> Iterator[list[Told]]:
        token: str | None = None
        while True:
            asked = ask | {"page_token": token}
            told = self._wire.get(path, asked) if get else self._wire.post(path, asked)
            if found := told.get(name, []):
                yield found
            token = told.get("next_page_token")
            if not token:
                return


def _proxied(root: str, path: str) -> str:
    """Where the server itself hands out the file: never another address, whatever a record says."""
    below = root.removeprefix(_SCHEME).lstrip("/")
    if root.startswith(f"{_SCHEME}//"):  # a host stands before the path
        below = below.partition("/")[2]
    return f"{_PROXY}/{quote(f'{below}/{path}', safe='/')}"


def _walk(listed: Any) -> Iterator[File]:
    folders = [""]
    while folders:
        for found in listed(folders.pop()):
            path = checked_path(posixpath.normpath(found["path"]))
            if found.get("is_dir"):
                folders.append(path)
            else:
                yield File(path, int(found.get("file_size", -1)))


def _points(told: list[Told]) -> Points:
    return Points(
        steps=[int(metric.get("step", 0)) for metric in told],
        at_ms=[int(metric.get("timestamp", 0)) for metric in told],
        values=[measured(metric["value"]) for metric in told],
    )
