"""Experiments, runs and what they log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headway.kernel.blobs import BlobDigest
from headway.kernel.clock import Instant
from headway.kernel.records import Record, State, Value


class RunState(State):
    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.FAILED, RunState.CANCELLED}),
    RunState.RUNNING: frozenset({RunState.RUNNING, RunState.FINISHED, RunState.FAILED, RunState.CANCELLED}),
    RunState.FINISHED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}


class Code(Value):
    """The code that ran: digest of the project's files, and the commit when there is one."""

    digest: str = ""
    commit: str = ""
    dirty: bool = False


class Experiment(Record, prefix="ex"):
    name: str
    about: str = ""
    tags: dict[str, str] = {}
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


class Input(Value):
    """A dataset that a run read, as the client that read it describes it. `schema` and `profile` are its own JSON."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = {}


class ModelUse(Value):
    """A logged model that a run read, or wrote at `step`."""

    model: str
    step: int = 0


class Run(Record, prefix="rn"):
    """One execution. A run of a pipeline has `pipeline`; a run inside it has `parent`."""

    experiment: str
    """The experiment's name."""
    name: str = ""
    state: RunState = RunState.PENDING
    pipeline: str = ""
    parent: str = ""
    change: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    code: Code = Code()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str = ""
    started_by: str = ""
    user: str = ""
    """Whom the client names; `started_by` is who held the token."""
    inputs: tuple[Input, ...] = ()
    models_read: tuple[ModelUse, ...] = ()
    models_written: tuple[ModelUse, ...] = ()
    deleted_at: datetime | None = None

    @property
    def over(self) -> bool:
        return not MOVES[self.state]


class Metric(Value):
    """One point of a series. Values may be NaN or infinite: they are what was measured."""

    key: str
    value: float
    at: Instant
    step: int = 0


class Artifact(Record, prefix="ar"):
    """A named output of a run, or a file of a logged model, in the blob store. `run` is the id of either."""

    run: str
    name: str
    blob: BlobDigest
    size: int
    media_type: str = "application/octet-stream"
    removed_at: datetime | None = None


class StepState(State):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Stopped with the run, or never begun because what it waits for failed."""


class StepRun(Value):
    """One step of a pipeline's run. `key` addresses its result: code, arguments and inputs."""

    step: str
    state: StepState = StepState.WAITING
    key: str = ""
    started_at: Instant | None = None
    ended_at: Instant | None = None
    error: str = ""
    attempts: int = 1


class StepLog(Value):
    """A part of what a step printed; `number` counts the parts of a run's steps from 1, in the order of arrival."""

    number: int
    step: str
    at: Instant
    text: str


class StepResult(Record, prefix="sr"):
    """What a step with this key gave: the cache's entry. `outputs` are blobs with their format."""

    key: str
    step: str
    run: str
    outputs: tuple[Output, ...]
    made_of: KeyParts | None = None


class Given(Value):
    """An argument of a step's call, or what it came from: enough to say later whether it is another one."""

    name: str
    digest: str
    shown: str


class KeyParts(Value):
    """What a key was made of: `code` is the digest of all that the step reaches, and `parts` the blob that lists it,
    a `StepCode`, which results of the same code share."""

    code: str
    parts: BlobDigest = ""
    given: tuple[Given, ...] = ()
    packages: dict[str, str] = {}
    """Those that the inputs are read by; those that the code reaches are among the parts."""
    python: str = ""
    version: str = ""


class LastResult(Value):
    """What a step of a pipeline gave when it last ran, or was found, under its name there."""

    step: str
    result: StepResult


class Output(Value):
    """A value of a step, stored as `blob` in `format` (parquet, json, onnx, bytes, ...)."""

    blob: BlobDigest
    format: str


class PipelineNode(Value):
    step: str
    after: tuple[str, ...] = ()


class Pipeline(Record, prefix="pl"):
    """A graph of steps as it was when it last ran."""

    name: str
    nodes: tuple[PipelineNode, ...]
    params: dict[str, Any] = {}
    code: Code = Code()


class StartRun(Value):
    """Command: create a run, pending, or running when `running` is set."""

    experiment: str
    name: str = ""
    pipeline: str = ""
    parent: str = ""
    change: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    code: Code = Code()
    running: bool = True
    user: str = ""
    started_at: Instant | None = None
    """When it began, if that was before this command."""


class LogBatch(Value):
    """Command: add params, tags and metric points to a run."""

    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[Metric, ...] = ()


class AmendRun(Value):
    """Command: change what is said of a run, whether it goes on or is over. A tag of None is taken away."""

    name: str | None = None
    tags: dict[str, str | None] = {}
    inputs: tuple[Input, ...] = ()
    models_read: tuple[ModelUse, ...] = ()
    models_written: tuple[ModelUse, ...] = ()
