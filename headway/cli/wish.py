"""What `headway run` is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.engines.pipelines.executor import Explain, Report
    from headway.lifecycle.runs.pipeline import Pipeline


@dataclass(frozen=True)
class Wish:
    """A pipeline of the project that this folder is in, its params as they were typed, and steps to run although they
    are cached."""

    name: str
    texts: Mapping[str, str]
    force: Collection[str] = ()
    report: Report | None = None
    explain: Explain | None = None


@dataclass(frozen=True)
class Loaded:
    """The pipeline that was wished for, its modules imported, and its params."""

    pipeline: Pipeline
    params: dict[str, Any]
