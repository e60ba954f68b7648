"""What people and other systems ask of triggers: to fire once, for each due time of a range, or by a signed request."""

from __future__ import annotations

from datetime import datetime

from headway.errors import Forbidden, IllegalMove, Invalid
from headway.kernel.access import SYSTEM, Actor, Permission
from headway.kernel.clock import Clock, Instant
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.records import Value
from headway.kernel.sealing import Sealer
from headway.lifecycle.changes.calendar import Calendar
from headway.lifecycle.changes.hooks import IDENTIFIER, brought, check_push, delivery_of, fresh_secret, push_of, touches
from headway.lifecycle.changes.records import Cause, Firing, FiringState, Noticed, Trigger
from headway.lifecycle.changes.store import ChangeStore, FiringStore
from headway.lifecycle.changes.triggers import TriggerService

MOST_SLOTS = 1000
_UNKNOWN_SENDER = "no trigger of this name takes requests that are signed like this one"


class FireTrigger(Value):
    """Command: open a change of this trigger now, whatever it listens to."""

    why: str = ""
    params: dict[str, str] = {}
    key: str = ""
    """The same key again opens no second change; without one each call does."""


class Backfill(Value):
    """Command: one change for each due time in [since, until]."""

    since: Instant
    until: Instant
    dry_run: bool = False
    most: int = 100
    why: str = ""


class Slot(Value):
    """A due time of a backfill. `state` is that of its firing; nothing for one that is to be noted."""

    slot_at: datetime
    state: FiringState | None = None
    change: str = ""
    noted: bool = False
    """It was not there, or had been skipped, and waits for its turn now."""


class Backfilled(Value):
    slots: tuple[Slot, ...]


class Heard(Value):
    """What came of a signed request."""

    fired: bool
    reason: str = ""
    firing: str = ""
    change: str = ""


class AskedService:
    def __init__(
        self,
        journal: Journal,
        triggers: TriggerService,
        firings: FiringStore,
        changes: ChangeStore,
        calendar: Calendar,
        sealer: Sealer,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._triggers, self._firings, self._changes = journal, triggers, firings, changes
        self._calendar, self._sealer, self._clock, self._ids = calendar, sealer, clock, ids

    def fire(self, reference: str, command: FireTrigger, *, by: Actor) -> Firing:
        """Have the trigger open a change, at once if its concurrency allows; the same `key` again changes nothing."""
        by.must(Permission.WRITE)
        trigger = self._ready(reference)
        if command.key and not IDENTIFIER.fullmatch(command.key):
            raise Invalid("a key has at most 200 characters, printable ones of ASCII without spaces")
        key = f"{trigger.id}/asked/{command.key or self._ids('key')}"
        why = command.why or f"asked for by {by.name}"
        cause = Noticed(key=key, cause=Cause.PERSON, why=why, params=command.params, by=by.name)
        return self._fired(trigger, cause, by)

    def _fired(self, trigger: Trigger, cause: Noticed, by: Actor) -> Firing:
        self._triggers.notice(trigger, [cause], by=by)
        self._triggers.advance(trigger)
        firing = self._firings.keyed(trigger.id, cause.key)
        if firing is None:  # paused meanwhile
            raise _paused(trigger)
        return firing

    def _ready(self, reference: str) -> Trigger:
        trigger = self._triggers.get(reference)
        if trigger.paused_at:
            raise _paused(trigger)
        return trigger

    def backfill(self, reference: str, command: Backfill, *, by: Actor) -> Backfilled:
        """Have each due time of a range, that has no change yet, wait for its turn: oldest first, as many at once as
        the trigger may have open. Asked for again, it goes on where it was."""
        by.must(Permission.WRITE)
        trigger = self._ready(reference)
        slots = self._slots(trigger, command)
        if command.dry_run:
            return Backfilled(slots=tuple(self._slot(trigger, slot) for slot in slots))
        with self._journal.act(by.name, "trigger.backfill", why=command.why) as act:
            before = [self._slot(trigger, slot) for slot in slots]
            for slot in before:
                if slot.state is FiringState.SKIPPED:
                    self._ask_again(act, trigger, slot.slot_at, by)
            new = [self._cause(trigger, slot.slot_at, command, by) for slot in before if slot.state is None]
        self._triggers.notice(trigger, new, by=by)
        self._triggers.advance(trigger)
        again = (None, FiringState.SKIPPED)
        return Backfilled(
            slots=tuple(self._slot(trigger, slot.slot_at).but(noted=slot.state in again) for slot in before)
        )  # fmt: skip

    def _slots(self, trigger: Trigger, command: Backfill) -> list[datetime]:
        if trigger.on is not Cause.SCHEDULE:
            raise Invalid(
                f"trigger {trigger.name} is fired by {trigger.on}: only a schedule has due times to go back to"
            )
        if not command.since <= command.until <= self._clock.now():
            raise Invalid("a backfill goes from an earlier to a later time of the past")
        if not 1 <= command.most <= MOST_SLOTS:
            raise Invalid(f"most is from 1 to {MOST_SLOTS}, not {command.most}")
        since = command.since.replace(microsecond=0)
        earlier = datetime.fromtimestamp(since.timestamp() - 1, tz=since.tzinfo)
        slots = self._calendar.within(trigger.source, trigger.time_zone, earlier, command.until, command.most + 1)
        if len(slots) > command.most:
            raise Invalid(
                f"there are more than {command.most} due times from {command.since} to {command.until}; take a shorter "
                f"range, or more at once, up to {MOST_SLOTS}"
            )
        return slots

    def _slot(self, trigger: Trigger, slot_at: datetime) -> Slot:
        key = slot_key(trigger, slot_at)
        firing = self._firings.keyed(trigger.id, key)
        if firing:
            return Slot(slot_at=slot_at, state=firing.state, change=firing.change)
        change = self._changes.caused(trigger.id, key)
        return Slot(slot_at=slot_at, state=FiringState.OPENED if change else None, change=change.id if change else "")

    def _ask_again(self, act: Act, trigger: Trigger, slot_at: datetime, by: Actor) -> None:
        firing = self._firings.keyed(trigger.id, slot_key(trigger, slot_at))
        assert firing is not None, "found in this act"
        act.save(self._firings, firing.but(state=FiringState.WAITING, by=by.name, reason="", ended_at=None))

    def _cause(self, trigger: Trigger, slot_at: datetime, command: Backfill, by: Actor) -> Noticed:
        why = command.why or f"backfill of {slot_at.isoformat()}"
        key = slot_key(trigger, slot_at)
        return Noticed(key=key, cause=Cause.BACKFILL, why=why, slot_at=slot_at, by=by.name)

    def renew_secret(self, reference: str, *, by: Actor) -> str:
        """A new secret for its requests, which is shown this once; the one before holds no more."""
        by.must(Permission.OPERATE)
        trigger, secret = self._triggers.get(reference), fresh_secret()
        self._triggers.keep_secret(trigger, self._sealer.seal(secret, trigger.id), by=by)
        return secret

    def hear(self, reference: str, headers: dict[str, str], body: bytes) -> Heard:
        """A request of another system, which its signature lets in. Raises `Forbidden` without saying whether there is
        such a trigger."""
        trigger = next((each for each in self._triggers.all() if each.name == reference), None)
        if trigger is None or not trigger.sealed_secret or trigger.on not in (Cause.WEBHOOK, Cause.COMMIT):
            raise Forbidden(_UNKNOWN_SENDER)
        secret = self._sealer.unseal(trigger.sealed_secret, trigger.id)
        if trigger.on is Cause.COMMIT:
            check_push(secret, headers, body, self._clock.now())
            return self._pushed(trigger, headers, body)
        delivery = delivery_of(secret, headers, body, self._clock.now())
        cause = Noticed(
            key=f"{trigger.id}/webhook/{delivery}", cause=Cause.WEBHOOK, why=f"webhook {delivery}",
            facts={"delivery": delivery}, params=brought(body, trigger.takes),
        )  # fmt: skip
        return self._heard(trigger, cause)

    def _pushed(self, trigger: Trigger, headers: dict[str, str], body: bytes) -> Heard:
        push = push_of(headers, body)
        if push is None:
            return Heard(fired=False, reason="this is no push to a branch")
        if push.branch != trigger.source:
            return Heard(fired=False, reason=f"it listens to {trigger.source}, not to {push.branch}"[:200])
        if not touches(push, trigger.paths):
            return Heard(fired=False, reason="no file that it listens to was touched")
        known = push.committed_at if push.committed_at and push.committed_at <= self._clock.now() else None
        why = f"{push.by or 'somebody'} pushed {push.commit[:12]} to {push.branch}: {push.title}".rstrip(": ")
        cause = Noticed(
            key=commit_key(trigger, push.commit), cause=Cause.COMMIT, why=why, commit=push.commit, committed_at=known,
            facts={"commit": push.commit, "branch": push.branch},
        )  # fmt: skip
        return self._heard(trigger, cause)

    def _heard(self, trigger: Trigger, cause: Noticed) -> Heard:
        known = self._triggers.knows(trigger, cause.key)
        if trigger.paused_at and not known:
            return Heard(fired=False, reason=f"trigger {trigger.name} is paused")
        firing = self._fired(trigger, cause, SYSTEM)
        reason = "it was sent before" if known else firing.reason
        return Heard(fired=not known, reason=reason, firing=firing.id, change=firing.change)


def _paused(trigger: Trigger) -> IllegalMove:
    return IllegalMove(f"trigger {trigger.name} is paused; `headway trigger resume {trigger.name}` first")


def slot_key(trigger: Trigger, slot_at: datetime) -> str:
    return f"{trigger.id}/{slot_at.isoformat()}"


def commit_key(trigger: Trigger, commit: str) -> str:
    return f"{trigger.id}/commit/{commit}"
