"""The policy and the quotas that hold, as they were declared last."""

from __future__ import annotations

from datetime import timedelta

from headway.kernel.clock import Clock
from headway.kernel.quotas import Quotas
from headway.lifecycle.retention.policy import Retention
from headway.lifecycle.retention.store import PolicyStore

_REMEMBERED_FOR = timedelta(seconds=5)
"""How long another process of the same database may go on with what was declared before."""


class Declared:
    def __init__(self, store: PolicyStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._remembered: Retention | None = None
        self._read_at = clock.now() - 2 * _REMEMBERED_FOR

    def now(self) -> Retention | None:
        """What the store has; None before anything was declared."""
        self._read_at = self._clock.now()
        self._remembered = next(iter(self._store.list(limit=1).items), None)
        return self._remembered

    def quotas(self) -> Quotas:
        """From memory, read anew every few seconds."""
        if self._clock.now() - self._read_at > _REMEMBERED_FOR:
            self.now()
        return self._remembered.quotas if self._remembered else Quotas()

    def forget(self) -> None:
        """Read the store at the next question."""
        self._read_at = self._clock.now() - 2 * _REMEMBERED_FOR
