"""What a running pipeline needs of the platform: implemented by the client, over HTTP or in process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headway.lifecycle.runs.records import PipelineNode, StepResult, StepRun


class Session(Protocol):
    """One run's line to the platform."""

    @property
    def run(self) -> str:
        """Id of the run."""
        ...

    def put_blob(self, data: bytes) -> str: ...
    def get_blob(self, digest: str) -> bytes: ...

    def cached(self, key: str) -> StepResult | None:
        """What a step with this key gave before."""
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
