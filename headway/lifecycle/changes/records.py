"""Triggers and changes: what opens the unit of delivery, and the unit itself."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from headway.kernel.records import Record, State, Value


class Cause(StrEnum):
    """What may open a change."""

    PERSON = "person"
    SCHEDULE = "schedule"
    DATASET = "dataset"
    ALERT = "alert"


class Trigger(Record, prefix="tr"):
    """A standing rule of the project: on this cause, run this pipeline and bring its model to this deployment."""

    name: str
    on: Cause
    pipeline: str
    deployment: str
    source: str = ""
    """The dataset or monitor it listens to, or the schedule as a cron line in UTC."""
    params: dict[str, str] = {}
    cooldown_s: float = 0.0
    """No second change from this trigger within this time, nor while one of its changes is open."""


class Stage(State):
    """Where a change is, named for what it has reached."""

    OPENED = "opened"
    RUNNING = "running"
    REGISTERED = "registered"
    JUDGED = "judged"
    RELEASED = "released"
    ROLLING_OUT = "rolling_out"
    SETTLED = "settled"
    REJECTED = "rejected"


OVER = frozenset({Stage.SETTLED, Stage.REJECTED})


class Moment(Value):
    """A stage that was reached."""

    stage: Stage
    at: datetime
    event_at: datetime | None = None


class Change(Record, prefix="ch"):
    """The unit of delivery: every id it gathers on its way, one row from trigger to settled."""

    number: int
    title: str
    cause: Cause
    opened_by: str
    deployment: str
    environment: str
    trigger: str = ""
    """Id of the trigger or empty for a person."""
    caused_by: str = ""
    """Id of the alert, dataset version or event behind it: one change per cause."""
    why: str = ""
    pipeline: str = ""
    params: dict[str, str] = {}
    break_glass: str = ""
    stage: Stage = Stage.OPENED
    run: str = ""
    model_version: str = ""
    verdict: str = ""
    release: str = ""
    rollout: str = ""
    reason: str = ""
    """Why it ended as it did."""
    history: tuple[Moment, ...] = ()

    @property
    def over(self) -> bool:
        return self.stage in OVER


class OpenChange(Value):
    """Command: open a change from a pipeline that is to run, or from a model version that is there."""

    deployment: str
    title: str = ""
    why: str = ""
    pipeline: str = ""
    params: dict[str, str] = {}
    model_version: str = ""
    break_glass: str = ""
    """A reason to skip the gate; needs the permission, and is in the ledger."""
