"""A run's line to the platform in the same process: what routes do, without requests and answers in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headway.client.blob_files import BlobFiles
from headway.kernel.access import Actor, Permission
from headway.lifecycle.runs.records import Code, LastResult, PipelineNode, StepResult, StepRun
from headway.lifecycle.runs.session import LastResults
from headway.server.app import Application


class PlatformSession:
    """Implements `lifecycle.runs.session.Session`. `pipeline` names the graph that is recorded, `by` is who runs it."""

    def __init__(self, application: Application, by: Actor, run: str, pipeline: str, code: Code) -> None:
        self._platform, self._blobs, self._by = application.platform, application.blobs, by
        self._files = BlobFiles(application.home.blobs)
        self._run, self._pipeline, self._code = run, pipeline, code
        self._nodes: tuple[PipelineNode, ...] = ()
        self._last = LastResults(lambda: application.platform.pipelines.last_results(pipeline))

    @property
    def run(self) -> str:
        return self._run

    def put_blob(self, data: bytes) -> str:
        self._by.must(Permission.WRITE)
        return self._blobs.put(data)

    def get_blob(self, digest: str) -> bytes:
        return self._blobs.get(digest)

    def blob_file(self, digest: str) -> Path | None:
        return self._files.path(digest)

    def cached(self, key: str) -> StepResult | None:
        return self._last.keyed(key) or self._platform.pipelines.result(key)

    def last_results(self) -> Sequence[LastResult]:
        return self._last.all()

    def keep(self, result: StepResult) -> StepResult:
        self._last.forget(result.key)
        return self._platform.pipelines.keep(
            result.key, result.step, result.run, result.outputs, result.made_of, by=self._by
        )  # fmt: skip

    def log(self, step: str, text: str) -> None:
        self._platform.runs.add_log(self._run, step, text, by=self._by)

    def progress(self, steps: Sequence[StepRun], nodes: Sequence[PipelineNode]) -> None:
        self._platform.runs.progress(self._run, steps, by=self._by)
        if tuple(nodes) != self._nodes:
            self._nodes = tuple(nodes)
            self._platform.pipelines.record(self._pipeline, self._nodes, self._code, by=self._by)
