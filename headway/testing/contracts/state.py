"""What a contract is run against: a journal with its stores, a clock that stands still and ids that count."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from headway.kernel.ids import Ids
from headway.kernel.journal import Act, Journal
from headway.kernel.records import Record
from headway.lifecycle.stores import Stores
from headway.testing.memory import FrozenClock, counted_ids
from headway.testing.samples import samples


class WakingJournal(Journal, Protocol):
    def wait(self, timeout_s: float) -> bool: ...


@dataclass(frozen=True)
class State:
    """An empty state of the storage under test; each test is given a new one by the fixture `state`."""

    journal: WakingJournal
    stores: Stores
    clock: FrozenClock
    ids: Ids = field(default_factory=counted_ids)

    def act(self, verb: str = "test.act", why: str = "") -> AbstractContextManager[Act]:
        return self.journal.act("ada", verb, why=why)

    def keep(self, name: str, *records: Record) -> None:
        """Save records through the store of this name, each in an act of its own."""
        for record in records:
            with self.act() as act:
                act.save(getattr(self.stores, name), record)

    def sample(self, name: str, /, **changes: object) -> Any:
        """A new record for the store of this name, with a new id, not kept yet."""
        return samples(self.ids, self.clock)[name].but(**changes)
