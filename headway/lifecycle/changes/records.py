"""Triggers and changes: what opens the unit of delivery, and the unit itself."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from headway.kernel.clock import Instant
from headway.kernel.records import Record, State, Value


class Cause(StrEnum):
    """What may open a change."""

    PERSON = "person"
    SCHEDULE = "schedule"
    DATASET = "dataset"
    ALERT = "alert"
    FILE = "file"
    WEBHOOK = "webhook"
    COMMIT = "commit"
    BACKFILL = "backfill"
    """Due times of the past that somebody asked for; no trigger listens to it."""


class CatchUp(StrEnum):
    """What becomes of due times and dataset versions that came while no server looked, or all at once."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Concurrency(StrEnum):
    """What becomes of a cause that comes while the trigger has as many open changes as it may."""

    QUEUE = "queue"
    SKIP = "skip"
    REPLACE = "replace"
    """It takes the place of the oldest open change, unless that one moves traffic already."""


class ParamKind(StrEnum):
    """What a value that a webhook brings must be."""

    TEXT = "text"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"


class Trigger(Record, prefix="tr"):
    """A standing rule of the project: on this cause, run this pipeline and bring its model to this deployment."""

    name: str
    on: Cause
    pipeline: str
    deployment: str
    source: str = ""
    """The dataset or monitor it listens to, the schedule as a cron line, files as a glob, or the branch of commits."""
    tag: str = ""
    """Only dataset versions that this tag leads to; all while there is none."""
    time_zone: str = "UTC"
    """In which the cron line is read, by its name in the IANA database."""
    paths: tuple[str, ...] = ()
    """Globs: only commits that touch such a file; all when there are none."""
    params: dict[str, str] = {}
    """Of the pipeline; `${slot}` and the like stand for facts of the cause."""
    takes: dict[str, ParamKind] = {}
    """The params that a webhook may bring."""
    catch_up: CatchUp = CatchUp.LATEST
    most_caught_up: int = 100
    """With `all`: no more than the newest so many of what was missed."""
    concurrency: Concurrency = Concurrency.QUEUE
    most_open: int = 1
    """Open changes of this trigger at once."""
    cooldown_s: float = 0.0
    """No second change from this trigger within this time, but for those that somebody asked for."""
    stable_s: float = 5.0
    """How long a file must stay as it is before it has arrived."""
    watching_since: datetime | None = None
    """What came before is no news to it: since it was declared as it is, or resumed."""
    paused_at: datetime | None = None
    paused_by: str = ""
    paused_why: str = ""
    sealed_secret: str = ""
    """What signs its requests, encrypted with a key of the home; never shown."""

    @property
    def since(self) -> datetime:
        return self.watching_since or self.created_at


class FiringState(State):
    WAITING = "waiting"
    OPENED = "opened"
    SKIPPED = "skipped"


class Firing(Record, prefix="fi"):
    """One cause that a trigger has taken notice of, and what became of it. There is one for each trigger and key."""

    trigger: str
    key: str
    cause: Cause
    state: FiringState = FiringState.WAITING
    why: str = ""
    params: dict[str, str] = {}
    """What the cause adds to the trigger's params."""
    slot_at: datetime | None = None
    """The due time, of a schedule or a backfill."""
    by: str = ""
    commit: str = ""
    committed_at: datetime | None = None
    change: str = ""
    reason: str = ""
    """Why it was skipped."""
    ended_at: datetime | None = None


class Noticed(Value):
    """A cause, as whoever looks for it tells a trigger."""

    key: str
    cause: Cause
    why: str
    facts: dict[str, str] = {}
    """What `${...}` in the trigger's params may stand for."""
    params: dict[str, str] = {}
    slot_at: datetime | None = None
    by: str = ""
    commit: str = ""
    committed_at: datetime | None = None
    missed: str = ""
    """Why it comes too late to fire; empty when it is in time."""


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
    commit: str = ""
    """The commit of the project that it is for: its run takes that one and no other."""
    committed_at: datetime | None = None
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
    commit: str = ""
    """The whole name of a commit; the same one again, for the same, gives the change that is there."""
    committed_at: Instant | None = None
    break_glass: str = ""
    """A reason to skip the gate; needs the permission, and is in the ledger."""
