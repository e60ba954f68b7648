"""Tokens in SQL."""

from __future__ import annotations

from headway.kernel.access import AccessToken
from headway.storage.sql.tables import RecordTable, SqlRecordStore

TOKENS = RecordTable("tokens", AccessToken, "secret_sha256", unique=[("secret_sha256",)])


class SqlTokenStore(SqlRecordStore[AccessToken]):
    table = TOKENS

    def by_secret(self, secret_sha256: str) -> AccessToken | None:
        return self._first(TOKENS.rows.c.secret_sha256 == secret_sha256)

    def all(self) -> list[AccessToken]:
        return self._every()
