"""What a running pipeline needs of the platform: implemented by the client, over HTTP or in process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from headway.lifecycle.runs.records import LastResult, PipelineNode, StepResult, StepRun


class Session(Protocol):
    """One run's line to the platform."""

    @property
    def run(self) -> str:
        """Id of the run."""
        ...

    def put_blob(self, data: bytes) -> str: ...
    def get_blob(self, digest: str) -> bytes: ...

    def blob_file(self, digest: str) -> Path | None:
        """The file on this machine that holds the blob, checked against its digest; to be mapped, and never to be
        written to. None when there is none, or when it is so small that reading it is quicker."""
        ...

    def cached(self, key: str) -> StepResult | None:
        """What a step with this key gave before."""
        ...

    def last_results(self) -> Sequence[LastResult]:
        """What each step gave when this pipeline ran before."""
        ...

    def keep(self, result: StepResult) -> StepResult:
        """Remember a result; an id is given to it here."""
        ...

    def progress(self, steps: Sequence[StepRun], nodes: Sequence[PipelineNode]) -> None:
        """Tell how far the steps are that have changed since the last call, and at the end all of them; `nodes` is the
        graph as drawn so far."""
        ...

    def log(self, step: str, text: str) -> None:
        """Keep a part of what the step prints."""
        ...


class LastResults:
    """What the steps of a pipeline last gave, asked for once: a thousand steps that are as they were take no thousand
    questions."""

    def __init__(self, load: Callable[[], Sequence[LastResult]]) -> None:
        self._load = load
        self._all: Sequence[LastResult] | None = None
        self._keyed: dict[str, StepResult] = {}

    def all(self) -> Sequence[LastResult]:
        if self._all is None:
            known = self._load()
            self._keyed = {last.result.key: last.result for last in known}
            self._all = known
        return self._all

    def keyed(self, key: str) -> StepResult | None:
        self.all()
        return self._keyed.get(key)

    def forget(self, key: str) -> None:
        """There is a newer result of this key."""
        self._keyed.pop(key, None)
