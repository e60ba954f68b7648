"""What another tracker knows of experiments, runs, logged models and traces, as it is handed in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headway.kernel.clock import Instant
from headway.kernel.ids import derived
from headway.kernel.records import Value
from headway.lifecycle.runs.logged import LoggedModel, LoggedModelState, ModelMetric
from headway.lifecycle.runs.records import Input, ModelUse, Run, RunState

SOURCE, SOURCE_ID, SEEN = "headway.import.from", "headway.import.id", "headway.import.digest"
"""Tags: where something was read, its id there, and the digest of what was said of it when all of it had been taken,
which follows `BEGUN` as long as some is missing."""
BEGUN = "begun "


class ImportedExperiment(Value):
    source_id: str
    name: str
    created_at: Instant
    tags: dict[str, str] = {}
    deleted: bool = False


class ImportedRun(Value):
    """`digest` is that of all that its source says of it, or empty while it goes on there."""

    source_id: str
    experiment: str
    """The experiment's name."""
    started_at: Instant
    state: RunState
    digest: str = ""
    name: str = ""
    parent: str = ""
    """Our id of the run that it is inside."""
    user: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    inputs: tuple[Input, ...] = ()
    models_read: tuple[ModelUse, ...] = ()
    models_written: tuple[ModelUse, ...] = ()
    ended_at: Instant | None = None
    deleted: bool = False

    @property
    def id(self) -> str:
        return imported_run_id(self.source_id, self.started_at)


class ImportedLoggedModel(Value):
    source_id: str
    experiment: str
    """The experiment's name."""
    name: str
    created_at: Instant
    updated_at: Instant
    state: LoggedModelState
    digest: str = ""
    run: str = ""
    """Our id."""
    kind: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[ModelMetric, ...] = ()

    @property
    def id(self) -> str:
        return imported_model_id(self.source_id, self.created_at)


class ImportedArtifact(Value):
    """A file of a run, a logged model or a trace, whose bytes are in the blob store already."""

    owner: str
    name: str
    blob: str
    size: int
    media_type: str = "application/octet-stream"


class ImportedTrace(Value):
    request: str
    """Its id, there and here."""
    experiment: str
    """The experiment's name."""
    created_at: Instant
    told: dict[str, Any] = {}
    tags: dict[str, str] = {}
    assessments: dict[str, dict[str, Any]] = {}


class Brought(Value):
    """`seen` says that all of it was taken before, and that its source says the same of it still; `begun` that some of
    it was, and that what is there can be relied on."""

    id: str
    seen: bool
    begun: bool = False


def imported_run_id(source_id: str, started_at: datetime) -> str:
    return derived(Run.prefix, started_at, source_id)


def imported_model_id(source_id: str, created_at: datetime) -> str:
    return derived(LoggedModel.prefix, created_at, source_id)
