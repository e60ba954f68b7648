"""What `headway run` is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headway.running.recipe import Recipe
from headway.running.where import Execution, Where

if TYPE_CHECKING:
    from headway.engines.pipelines.executor import Explain, Report
    from headway.lifecycle.runs.pipeline import Pipeline


WORKERS = Execution(Where.WORKERS)


def _quiet(step: str, text: str) -> None:
    """Shows nothing of what steps print."""


def _forgotten(run: str) -> None:
    """Nobody goes on with it."""


@dataclass(frozen=True)
class Wish:
    """A pipeline of the project that this folder is in, its params as they were typed, and steps to run although they
    are cached. `began` is told the id of the run, `echo` what steps print."""

    name: str
    texts: Mapping[str, str]
    force: Collection[str] = ()
    report: Report | None = None
    explain: Explain | None = None
    execution: Execution = WORKERS
    echo: Callable[[str, str], None] = _quiet
    began: Callable[[str], None] = _forgotten

    @property
    def recipe(self) -> dict[str, str]:
        """The tag that says how to go on with the run."""
        return Recipe(pipeline=self.name, params=dict(self.texts), force=tuple(self.force)).tag


@dataclass(frozen=True)
class Loaded:
    """The pipeline that was wished for, its modules imported, and its params."""

    pipeline: Pipeline
    params: dict[str, Any]
