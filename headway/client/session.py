"""A run's line to the platform, for whoever executes its pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headway.client.blob_files import BlobFiles
from headway.lifecycle.runs.records import Code, LastResult, PipelineNode, StepResult, StepRun
from headway.lifecycle.runs.session import LastResults

if TYPE_CHECKING:
    from headway.client.client import Client


class ClientSession:
    """Implements `lifecycle.runs.session.Session` over a client. `pipeline` names the graph that is recorded."""

    def __init__(self, client: Client, run: str, pipeline: str, code: Code) -> None:
        self._client, self._run, self._pipeline, self._code = client, run, pipeline, code
        self._files = BlobFiles(client.folder / "blobs" if client.folder else None)
        self._nodes: tuple[PipelineNode, ...] = ()
        self._last = LastResults(lambda: client.pipelines.last_results(pipeline))

    @property
    def run(self) -> str:
        return self._run

    def put_blob(self, data: bytes) -> str:
        return self._client.blobs.put(data)

    def get_blob(self, digest: str) -> bytes:
        return self._client.blobs.get(digest)

    def blob_file(self, digest: str) -> Path | None:
        return self._files.path(digest)

    def cached(self, key: str) -> StepResult | None:
        return self._last.keyed(key) or self._client.pipelines.result(key)

    def last_results(self) -> Sequence[LastResult]:
        return self._last.all()

    def keep(self, result: StepResult) -> StepResult:
        self._last.forget(result.key)
        return self._client.pipelines.keep(result)

    def log(self, step: str, text: str) -> None:
        self._client.runs.add_log(self._run, step, text)

    def progress(self, steps: Sequence[StepRun], nodes: Sequence[PipelineNode]) -> None:
        self._client.runs.progress(self._run, steps)
        if tuple(nodes) != self._nodes:
            self._nodes = tuple(nodes)
            self._client.pipelines.record(self._pipeline, self._nodes, self._code)
