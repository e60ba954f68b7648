"""The ledger and lineage, over a connection."""

from __future__ import annotations

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.ledger import Entry
from headway.kernel.lineage import Edge
from headway.kernel.records import Value


class Neighbours(Value):
    """Edges upstream (what it came from) and downstream (what came from it)."""

    up: tuple[Edge, ...]
    down: tuple[Edge, ...]


class Verified(Value):
    entries: int


class Ledger:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, after: int | None = None, subject: str | None = None, limit: int = 100) -> tuple[Entry, ...]:
        """Entries, newest first; with `after`, those with a higher number in their order."""
        return self._connection.get("/v1/ledger", tuple[Entry, ...], after=after, subject=subject, limit=limit)

    def verify(self) -> int:
        """The number of entries, all of which hold; raises `LedgerBroken` naming the first that does not."""
        return self._connection.post("/v1/ledger/verify", Verified).entries


class Lineage:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, identifier: str) -> Neighbours:
        return self._connection.get(f"/v1/lineage/{segment(identifier)}", Neighbours)
