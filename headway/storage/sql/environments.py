"""Environments in SQL."""

from __future__ import annotations

from headway.lifecycle.environments.records import Environment
from headway.storage.sql.tables import RecordTable, SqlRecordStore

ENVIRONMENTS = RecordTable("environments", Environment, "name", unique=[("name",)])


class SqlEnvironmentStore(SqlRecordStore[Environment]):
    table = ENVIRONMENTS

    def named(self, name: str) -> Environment | None:
        return self._first(ENVIRONMENTS.rows.c.name == name)

    def all(self) -> list[Environment]:
        return self._every(order=[ENVIRONMENTS.rows.c.name])
