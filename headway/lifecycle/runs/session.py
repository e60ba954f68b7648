"""What a running pipeline needs of the platform: implemented by the client, over HTTP or in process."""

from __future__ import annotations

from collections.abc import Sequence
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
