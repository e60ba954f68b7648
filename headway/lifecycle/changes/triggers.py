"""What one can do with triggers, and how what they take notice of becomes changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from headway.errors import BadSettings, IllegalMove, NotFound
from headway.kernel.access import SYSTEM, Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.changes.calendar import Calendar
from headway.lifecycle.changes.firings import MOST_WAITING, End, Hold, Open, Skip, Step, filled, next_step
from headway.lifecycle.changes.records import (
    Cause,
    Change,
    Firing,
    FiringState,
    Noticed,
    OpenChange,
    Trigger,
)
from headway.lifecycle.changes.service import ChangeService
from headway.lifecycle.changes.store import ChangeStore, FiringStore, TriggerStore

_NEXT = 5
_MOST_STEPS = 200
"""In one look at a trigger; the rest is done at the next."""
_DECLARED = ("on", "source", "tag", "time_zone", "paths", "stable_s")
"""When one of these changes, the trigger listens to something else: what came before is no news."""
_KEPT = ("id", "created_at", "watching_since", "paused_at", "paused_by", "paused_why", "sealed_secret")


class Standing(Value):
    """How a trigger stands: when it is due next, and what holds up what waits."""

    trigger: Trigger
    next_due: tuple[datetime, ...] = ()
    open_changes: tuple[int, ...] = ()
    """Their numbers."""
    waiting: int = 0
    held_by: str = ""
    last: Firing | None = None


class TriggerService:
    def __init__(
        self,
        journal: Journal,
        triggers: TriggerStore,
        firings: FiringStore,
        changes: ChangeStore,
        opener: ChangeService,
        calendar: Calendar,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._journal, self._triggers, self._firings = journal, triggers, firings
        self._changes, self._opener, self._calendar = changes, opener, calendar
        self._clock, self._ids = clock, ids

    def check(self, name: str, time_zone: str) -> None:
        """Raise `BadSettings` for a time zone that this machine does not know."""
        if not self._calendar.knows(time_zone):
            raise BadSettings(
                f"[triggers.{name}] time_zone: there is no {time_zone[:60]!r}; names are as in Europe/Berlin"
            )

    def declare(self, trigger: Trigger, *, by: Actor) -> Trigger:
        """Make the trigger be as said; its id, its secret and whether it is paused stay."""
        by.must(Permission.OPERATE)
        self.check(trigger.name, trigger.time_zone)
        self._opener.must_deploy(trigger.deployment)
        with self._journal.act(by.name, "trigger.declare") as act:
            known = self._triggers.named(trigger.name)
            if known:
                trigger = trigger.but(**{name: getattr(known, name) for name in _KEPT})
                if any(getattr(trigger, name) != getattr(known, name) for name in _DECLARED):
                    trigger = trigger.but(watching_since=self._clock.now())
            return trigger if trigger == known else act.save(self._triggers, trigger)

    def all(self) -> list[Trigger]:
        return self._triggers.all()

    def get(self, reference: str) -> Trigger:
        """By name or id."""
        found = self._triggers.named(reference) or self._triggers.get(reference)
        if found is None:
            raise NotFound(f"no trigger {reference[:100]!r}; `headway trigger list` shows what there is")
        return found

    def standing(self, reference: str) -> Standing:
        trigger = self.get(reference)
        waiting, open_changes = self._firings.waiting(trigger.id), self._open(trigger)
        step = self._next(trigger, waiting, open_changes)
        due: Sequence[datetime] = ()
        if trigger.on is Cause.SCHEDULE and not trigger.paused_at:
            due = self._calendar.after(trigger.source, trigger.time_zone, self._clock.now(), _NEXT)
        newest = self._firings.list(trigger.id, limit=1).items
        return Standing(
            trigger=trigger, next_due=tuple(due), open_changes=tuple(change.number for change in open_changes),
            waiting=len(waiting), held_by=step.why if waiting and isinstance(step, Hold) else "",
            last=newest[0] if newest else None,
        )  # fmt: skip

    def history(
        self, reference: str, *, state: FiringState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Firing]:
        """What it took notice of, and what became of that, newest first."""
        return self._firings.list(self.get(reference).id, state=state, limit=limit, before=before)

    def pause(self, reference: str, why: str, *, by: Actor) -> Trigger:
        """Take notice of nothing, and open nothing, until it is resumed; what comes meanwhile is no news then."""
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "trigger.pause", why=why) as act:
            trigger = self.get(reference)
            if trigger.paused_at:
                return trigger
            return act.save(
                self._triggers, trigger.but(paused_at=self._clock.now(), paused_by=by.name, paused_why=why)
            )  # fmt: skip

    def resume(self, reference: str, *, by: Actor) -> Trigger:
        by.must(Permission.OPERATE)
        with self._journal.act(by.name, "trigger.resume") as act:
            trigger = self.get(reference)
            if not trigger.paused_at:
                return trigger
            resumed = trigger.but(paused_at=None, paused_by="", paused_why="", watching_since=self._clock.now())
            return act.save(self._triggers, resumed)

    def keep_secret(self, trigger: Trigger, sealed: str, *, by: Actor) -> Trigger:
        """What signs its requests from now on, encrypted; the one before holds no more."""
        by.must(Permission.OPERATE)
        if trigger.on not in (Cause.WEBHOOK, Cause.COMMIT):
            raise IllegalMove(f"trigger {trigger.name} is fired by {trigger.on}: only webhooks and commits are signed")
        with self._journal.act(by.name, "trigger.secret") as act:
            return act.save(self._triggers, self.get(trigger.id).but(sealed_secret=sealed))

    def knows(self, trigger: Trigger, key: str) -> bool:
        """Whether it has taken notice of this cause, now or before it kept firings."""
        return bool(self._firings.keyed(trigger.id, key) or self._changes.caused(trigger.id, key))

    def last_slot(self, trigger: Trigger) -> datetime:
        """Up to when its schedule has been looked at."""
        return max(filter(None, (self._firings.last_slot(trigger.id), trigger.since)))

    def notice(self, trigger: Trigger, causes: Iterable[Noticed], *, by: Actor = SYSTEM) -> list[Firing]:
        """Write down what is new among `causes`: one firing for each trigger and key, ever.

        It is asked again and again while a cause stands, so it looks before it begins to write.
        """
        new = [cause for cause in causes if not self.knows(trigger, cause.key)]
        if not new or trigger.paused_at:
            return []
        with self._journal.act(by.name, "trigger.notice", why=new[0].why) as act:
            waiting = len(self._firings.waiting(trigger.id))
            found = []
            for number, cause in enumerate(each for each in new if not self.knows(trigger, each.key)):
                full = waiting + number >= MOST_WAITING and f"{MOST_WAITING} causes wait already"
                found.append(self._noted(act, trigger, cause, cause.missed or full or ""))
            return found

    def _noted(self, act: Act, trigger: Trigger, cause: Noticed, skipped: str) -> Firing:
        now = self._clock.now()
        firing = Firing(
            id=self._ids(Firing.prefix), created_at=now, trigger=trigger.id, key=cause.key, cause=cause.cause,
            why=cause.why, params=self.params(trigger, cause), slot_at=cause.slot_at, by=cause.by,
            commit=cause.commit, committed_at=cause.committed_at,
            state=FiringState.SKIPPED if skipped else FiringState.WAITING, reason=skipped,
            ended_at=now if skipped else None,
        )  # fmt: skip
        return act.save(self._firings, firing, came_from=[trigger.id])

    def params(self, trigger: Trigger, cause: Noticed) -> dict[str, str]:
        """What the pipeline is given: the trigger's params, then those that come with the cause."""
        facts = cause.facts
        if cause.slot_at:
            day = self._calendar.day(cause.slot_at, trigger.time_zone)
            facts = {**facts, "slot": cause.slot_at.isoformat(), "slot_date": day}
        own = {name: text for name, text in trigger.params.items() if name not in cause.params}
        return {**filled(own, facts), **cause.params}

    def advance(self, trigger: Trigger, *, event_at: datetime | None = None) -> list[Change]:
        """Open the changes that its rules allow now."""
        opened: list[Change] = []
        for _ in range(_MOST_STEPS):
            waiting = self._firings.waiting(trigger.id)
            if not waiting:
                break
            step = self._next(trigger, waiting, self._open(trigger))
            if isinstance(step, Hold):
                break
            change = self._carry_out(trigger.id, step, event_at)
            opened += [change] if change else []
        return opened

    def waiting(self) -> list[Firing]:
        return self._firings.waiting()

    def skip(self, firing: Firing, reason: str) -> None:
        """Have what waits open no change."""
        with self._journal.act(SYSTEM.name, "trigger.skip", why=reason) as act:
            self._skip(act, firing.id, reason)

    def _carry_out(self, identifier: str, step: Step, event_at: datetime | None) -> Change | None:
        if isinstance(step, End):
            self._opener.cancel(step.change, "a newer cause takes its place", by=SYSTEM)
            return None
        with self._journal.act(SYSTEM.name, "trigger.fire" if isinstance(step, Open) else "trigger.skip") as act:
            trigger = self.get(identifier)
            # Decided again: another process may have opened it, and acts come one after the other.
            step = self._next(trigger, self._firings.waiting(trigger.id), self._open(trigger))
            if isinstance(step, Skip):
                self._skip(act, step.firing, step.reason)
            return self._opened(act, trigger, step.firing, event_at) if isinstance(step, Open) else None

    def _skip(self, act: Act, identifier: str, reason: str) -> None:
        firing = self._firings.get(identifier)
        if firing and firing.state is FiringState.WAITING:
            now = self._clock.now()
            act.save(self._firings, firing.but(state=FiringState.SKIPPED, reason=reason, ended_at=now))

    def _opened(self, act: Act, trigger: Trigger, identifier: str, event_at: datetime | None) -> Change | None:
        firing = self._firings.get(identifier)
        assert firing is not None, "decided in this act"
        command = OpenChange(
            deployment=trigger.deployment, pipeline=trigger.pipeline, params=firing.params, why=firing.why,
            title=trigger.name, commit=firing.commit, committed_at=firing.committed_at,
        )  # fmt: skip
        change = self._opener.begin(
            act, command, cause=firing.cause, opened_by=firing.by or SYSTEM.name, event_at=event_at, trigger=trigger.id,
            caused_by=firing.key,
        )  # fmt: skip
        now = self._clock.now()
        act.save(
            self._firings, firing.but(state=FiringState.OPENED, change=change.id, ended_at=now), came_from=[firing.key]
        )
        return change

    def _open(self, trigger: Trigger) -> list[Change]:
        return [change for change in self._changes.open() if change.trigger == trigger.id]

    def _next(self, trigger: Trigger, waiting: Sequence[Firing], open_changes: Sequence[Change]) -> Step:
        newest = self._changes.caused(trigger.id)
        return next_step(trigger, waiting, open_changes, newest.created_at if newest else None, self._clock.now())
