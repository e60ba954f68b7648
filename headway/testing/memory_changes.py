"""Triggers, their firings and changes in memory."""

from __future__ import annotations

from datetime import datetime

from headway.kernel.paging import Page
from headway.lifecycle.changes.records import Cause, Change, Firing, FiringState, Trigger
from headway.testing.memory_journal import MemoryRecordStore


class MemoryTriggerStore(MemoryRecordStore[Trigger]):
    record_type = Trigger
    unique = (("name",),)

    def named(self, name: str) -> Trigger | None:
        return self._first(lambda trigger: trigger.name == name)

    def all(self) -> list[Trigger]:
        return self._every(lambda _: True, order=lambda trigger: trigger.name)


class MemoryFiringStore(MemoryRecordStore[Firing]):
    record_type = Firing
    unique = (("trigger", "key"),)

    def keyed(self, trigger: str, key: str) -> Firing | None:
        return self._first(lambda firing: (firing.trigger, firing.key) == (trigger, key))

    def waiting(self, trigger: str | None = None) -> list[Firing]:
        return self._every(
            lambda firing: firing.state is FiringState.WAITING and trigger in (None, firing.trigger)
        )  # fmt: skip

    def last_slot(self, trigger: str) -> datetime | None:
        found = self._every(lambda firing: firing.trigger == trigger and firing.cause is Cause.SCHEDULE)
        return max((firing.slot_at for firing in found if firing.slot_at), default=None)

    def list(
        self, trigger: str, *, state: FiringState | None = None, limit: int = 100, before: str | None = None
    ) -> Page[Firing]:
        return self._page(limit, before, trigger=trigger, state=state)


class MemoryChangeStore(MemoryRecordStore[Change]):
    record_type = Change
    unique = (("number",),)

    def numbered(self, number: int) -> Change | None:
        return self._first(lambda change: change.number == number)

    def last_number(self) -> int:
        return max((change.number for change in self._every(lambda _: True)), default=0)

    def open(self) -> list[Change]:
        return self._every(lambda change: not change.over)

    def caused(self, trigger: str, cause: str | None = None) -> Change | None:
        return self._first(lambda change: change.trigger == trigger and cause in (None, change.caused_by))

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Change]:
        return self._page(limit, before)
