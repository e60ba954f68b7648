"""What one can do with environments."""

from __future__ import annotations

from headway.errors import NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_name
from headway.lifecycle.environments.records import CheckSpec, Environment, RolloutPolicy
from headway.lifecycle.environments.store import EnvironmentStore


class EnvironmentService:
    def __init__(self, journal: Journal, store: EnvironmentStore, clock: Clock, ids: Ids) -> None:
        self._journal, self._store, self._clock, self._ids = journal, store, clock, ids

    def declare(
        self,
        name: str,
        *,
        by: Actor,
        gate: tuple[CheckSpec, ...] = (),
        approvals: int = 0,
        approvers: tuple[str, ...] = (),
        rollout: RolloutPolicy | None = None,
    ) -> Environment:
        """Make the environment be as said; saying it again changes nothing."""
        by.must(Permission.OPERATE)
        checked_name(name, "environment")
        with self._journal.act(by.name, "environment.declare") as act:
            known = self._store.named(name)
            declared = Environment(
                id=known.id if known else self._ids(Environment.prefix),
                created_at=known.created_at if known else self._clock.now(),
                name=name,
                gate=gate,
                approvals=approvals,
                approvers=approvers,
                rollout=rollout or RolloutPolicy(),
            )
            return declared if declared == known else act.save(self._store, declared)

    def get(self, name: str) -> Environment:
        found = self._store.named(name)
        if found is None:
            raise NotFound(f"no environment {name!r}; declare it in headway.toml as [environments.{name}]")
        return found

    def list(self) -> list[Environment]:
        return self._store.all()
