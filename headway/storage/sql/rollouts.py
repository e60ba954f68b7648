"""Deployments, their traffic and rollouts in SQL."""

from __future__ import annotations

from datetime import datetime

from headway.kernel.clock import to_us
from headway.kernel.paging import Page
from headway.lifecycle.rollouts.records import MOVES, Deployment, Rollout, TrafficChange
from headway.storage.sql.tables import RecordTable, SqlRecordStore

DEPLOYMENTS = RecordTable("deployments", Deployment, "name", unique=[("name",)])
TRAFFIC = RecordTable("traffic", TrafficChange, "deployment", "created_at", "generation", index=["deployment"])
ROLLOUTS = RecordTable("rollouts", Rollout, "deployment", "state", index=["deployment", "state"])
_OVER = [state for state, onwards in MOVES.items() if not onwards]


class SqlDeploymentStore(SqlRecordStore[Deployment]):
    table = DEPLOYMENTS

    def named(self, name: str) -> Deployment | None:
        return self._first(DEPLOYMENTS.rows.c.name == name)

    def all(self) -> list[Deployment]:
        return self._every(order=[DEPLOYMENTS.rows.c.name])


class SqlTrafficStore(SqlRecordStore[TrafficChange]):
    table = TRAFFIC

    def at(self, deployment: str, moment: datetime) -> TrafficChange | None:
        column = TRAFFIC.rows.c
        return self._first(
            column.deployment == deployment,
            column.created_at <= to_us(moment),
            order=[column.created_at.desc(), column.generation.desc()],
        )

    def list(self, deployment: str, *, limit: int = 100, before: str | None = None) -> Page[TrafficChange]:
        return self._page(limit, before, deployment=deployment)


class SqlRolloutStore(SqlRecordStore[Rollout]):
    table = ROLLOUTS

    def open(self, deployment: str | None = None) -> list[Rollout]:
        """Oldest first."""
        column = ROLLOUTS.rows.c
        named = [] if deployment is None else [column.deployment == deployment]
        return self._every(column.state.not_in(_OVER), *named)

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Rollout]:
        return self._page(limit, before, deployment=deployment)
