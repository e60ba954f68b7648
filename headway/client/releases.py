"""Releases, over a connection."""

from __future__ import annotations

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.lifecycle.releases.records import Release


class Releases:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, identifier: str) -> Release:
        return self._connection.get(f"/v1/releases/{segment(identifier)}", Release)

    def check(self, identifier: str) -> Release:
        """The release, if its signature holds and says what the record says; raises `Refused` otherwise."""
        return self._connection.post(f"/v1/releases/{segment(identifier)}/check", Release)

    def list(self, environment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Release]:
        return self._connection.get("/v1/releases", Page[Release], environment=environment, limit=limit, before=before)
