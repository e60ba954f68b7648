"""Models as runs log them: files with a name, before anybody registers them as a version."""

from __future__ import annotations

from datetime import datetime

from headway.kernel.records import Record, State, Value


class LoggedModelState(State):
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class ModelMetric(Value):
    """What a run measured of a logged model. `value` is written as Python writes it: JSON has no NaN."""

    key: str
    value: str
    at: datetime
    step: int = 0
    run: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LoggedModel(Record, prefix="lm"):
    name: str
    experiment: str
    """Id of the experiment."""
    run: str = ""
    kind: str = ""
    """What the client calls its type: an agent, a classifier."""
    state: LoggedModelState = LoggedModelState.PENDING
    error: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: tuple[ModelMetric, ...] = ()
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


class LogModel(Value):
    """Command: begin a logged model, whose files follow."""

    experiment: str
    name: str = ""
    run: str = ""
    kind: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
