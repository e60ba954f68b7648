"""A session that keeps everything in memory."""

from __future__ import annotations

from collections.abc import Sequence

from headway.errors import NotFound
from headway.kernel.records import digest
from headway.lifecycle.runs.records import LastResult, PipelineNode, StepResult, StepRun


class MemorySession:
    """Pass `other` to begin a further run over what that session keeps. `read` holds the blobs that were asked for."""

    def __init__(self, run: str = "rn_1", other: MemorySession | None = None) -> None:
        self._run = run
        self.blobs: dict[str, bytes] = other.blobs if other else {}
        self.results: dict[str, StepResult] = other.results if other else {}
        self.steps: dict[str, StepRun] = {}
        self._before: dict[str, StepRun] = other.steps if other else {}
        self.nodes: tuple[PipelineNode, ...] = ()
        self.read: list[str] = []
        self.logs: dict[str, str] = {}

    @property
    def run(self) -> str:
        return self._run

    def put_blob(self, data: bytes) -> str:
        self.blobs[digest(data)] = data
        return digest(data)

    def get_blob(self, digest: str) -> bytes:
        if digest not in self.blobs:
            raise NotFound(f"no blob {digest}")
        self.read.append(digest)
        return self.blobs[digest]

    def blob_file(self, digest: str) -> None:
        """There are no files."""

    def cached(self, key: str) -> StepResult | None:
        return self.results.get(key)

    def last_results(self) -> Sequence[LastResult]:
        known = ((name, self.results.get(step.key)) for name, step in self._before.items())
        return [LastResult(step=name, result=result) for name, result in known if result is not None]

    def keep(self, result: StepResult) -> StepResult:
        kept = result.but(id=f"{StepResult.prefix}_{len(self.results)}")
        self.results[result.key] = kept
        return kept

    def progress(self, steps: Sequence[StepRun], nodes: Sequence[PipelineNode]) -> None:
        self.steps |= {step.step: step for step in steps}
        self.nodes = tuple(nodes) or self.nodes

    def log(self, step: str, text: str) -> None:
        self.logs[step] = self.logs.get(step, "") + text
