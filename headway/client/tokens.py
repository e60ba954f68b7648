"""Tokens, over a connection."""

from __future__ import annotations

from datetime import datetime

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.access import Role
from headway.kernel.paging import Page
from headway.kernel.records import Value


class Token(Value, forbid_unknown_fields=False):
    """A token as others see it: the server keeps the digest of its secret to itself."""

    id: str
    created_at: datetime
    name: str
    role: Role
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Granted(Value):
    """A new token and its secret, which is shown this once."""

    token: Token
    secret: str


class Tokens:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, role: Role, *, days: int | None = None) -> Granted:
        body = {"name": name, "role": role} | ({} if days is None else {"days": days})
        return self._connection.post("/v1/tokens", Granted, body)

    def revoke(self, name: str) -> None:
        self._connection.delete(f"/v1/tokens/{segment(name)}")

    def list(self) -> tuple[Token, ...]:
        return self._connection.get("/v1/tokens", Page[Token]).items
