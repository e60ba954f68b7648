"""What becomes of the causes that a trigger has taken notice of: pure and total, tested by table and as a machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from headway.errors import Invalid
from headway.kernel.records import Value
from headway.lifecycle.changes.records import CatchUp, Cause, Change, Concurrency, Firing, Stage, Trigger

MOST_WAITING = 1000
"""What comes while so many causes of a trigger wait is skipped."""
FACTS: dict[Cause, tuple[str, ...]] = {
    Cause.PERSON: (),
    Cause.SCHEDULE: ("slot", "slot_date"),
    Cause.BACKFILL: ("slot", "slot_date"),
    Cause.DATASET: ("version",),
    Cause.ALERT: ("alert",),
    Cause.FILE: ("file", "digest"),
    Cause.WEBHOOK: ("delivery",),
    Cause.COMMIT: ("commit", "branch"),
}
"""What params may name as `${...}`."""
_OVERTAKEN = (Cause.SCHEDULE, Cause.DATASET)
_FACT = re.compile(r"\$\{(\w{1,50})\}")


class Open(Value):
    """Open the change of this firing."""

    firing: str


class Skip(Value):
    """This firing opens none."""

    firing: str
    reason: str


class End(Value):
    """Give this change up: a newer cause takes its place."""

    change: str


class Hold(Value):
    """Nothing to do until something else has happened."""

    why: str


Step = Open | Skip | End | Hold


def next_step(
    trigger: Trigger, waiting: Sequence[Firing], open_changes: Sequence[Change], last_opened_at: datetime | None,
    now: datetime,
) -> Step:  # fmt: skip
    """What to do now. `waiting` and `open_changes` are the trigger's own, oldest first.

    What somebody asked for, by hand or as a backfill, is never skipped and waits for no cool-down.
    """
    if trigger.paused_at:
        return Hold(why=f"paused by {trigger.paused_by}")
    overtaken = _overtaken(trigger, waiting)
    if overtaken:
        return overtaken
    cooled_at = last_opened_at + timedelta(seconds=trigger.cooldown_s) if last_opened_at else now
    ready = next((firing for firing in waiting if firing.by or now >= cooled_at), None)
    skips = trigger.concurrency is Concurrency.SKIP
    if ready is None:
        if waiting and skips:
            return Skip(firing=waiting[0].id, reason=f"its last change was less than {trigger.cooldown_s:g} s old")
        return Hold(why=f"cooling down until {cooled_at.isoformat()}" if waiting else "nothing waits")
    if len(open_changes) < trigger.most_open:
        return Open(firing=ready.id)
    if skips and not ready.by:
        return Skip(firing=ready.id, reason=f"{_told(open_changes)} was still open")
    if trigger.concurrency is Concurrency.REPLACE and ready.cause is not Cause.BACKFILL:
        return _replace(open_changes)
    return Hold(why=f"{_told(open_changes)} is still open")


def _overtaken(trigger: Trigger, waiting: Sequence[Firing]) -> Skip | None:
    """The oldest that a newer one makes pointless."""
    own = [firing for firing in waiting if not firing.by]
    for older, newer in pairwise(own):
        if trigger.concurrency is Concurrency.REPLACE:
            return Skip(firing=older.id, reason="a newer cause took its place")
        if trigger.catch_up is CatchUp.LATEST and older.cause in _OVERTAKEN and newer.cause is older.cause:
            return Skip(firing=older.id, reason="a newer one came while it waited")
    return None


def _replace(open_changes: Sequence[Change]) -> Step:
    movable = [change for change in open_changes if change.stage is not Stage.ROLLING_OUT]
    return End(change=movable[0].id) if movable else Hold(why=f"{_told(open_changes)} moves traffic already")


def _told(changes: Sequence[Change]) -> str:
    return "change " + ", ".join(str(change.number) for change in changes)


def facts_in(params: Mapping[str, str]) -> set[str]:
    """The facts that `params` name."""
    return {name for text in params.values() for name in _FACT.findall(text)}


def filled(params: Mapping[str, str], facts: Mapping[str, str]) -> dict[str, str]:
    """`params` with `${...}` replaced; raises `Invalid` for a fact that the cause does not have."""
    for name, text in params.items():
        for fact in _FACT.findall(text):
            if fact not in facts:
                raise Invalid(
                    f"param {name!r} stands for {fact!r}, which this cause does not have; give it: {name}=..."
                )
    return {name: _FACT.sub(lambda found: facts[found[1]], text) for name, text in params.items()}
