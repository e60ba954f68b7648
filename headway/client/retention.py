"""What is no longer wanted, and the space it takes, over a connection."""

from __future__ import annotations

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.lifecycle.retention.policy import RetentionPolicy
from headway.lifecycle.retention.records import Purged, Standing, Sweep, Swept, Tombstone, Usage

_A_DAY_S = 86_400.0


class Records:
    """Any record by its id, which says what kind it is of."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def delete(self, identifier: str) -> Standing:
        """Put it aside; it can be restored."""
        return self._connection.post(_path(identifier) + "/delete", Standing)

    def restore(self, identifier: str) -> Standing:
        """Take back what was put aside."""
        return self._connection.post(_path(identifier) + "/restore", Standing)

    def purge(self, identifier: str, why: str) -> Purged:
        """Remove what was put aside, with its parts, for good. Raises `Refused` while anything came from it."""
        return self._connection.post(_path(identifier) + "/purge", Purged, {"why": why})

    def tombstone(self, identifier: str) -> Tombstone:
        return self._connection.get(f"/v1/tombstones/{segment(identifier)}", Tombstone)

    def tombstones(self, kind: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Tombstone]:
        """What was purged, newest first; `kind` is the prefix of ids."""
        return self._connection.get("/v1/tombstones", Page[Tombstone], kind=kind, limit=limit, before=before)


class Retention:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def policy(self) -> RetentionPolicy:
        """How long things are kept."""
        return self._connection.get("/v1/retention", RetentionPolicy)

    def usage(self) -> Usage:
        """What the blobs take, and how much may be kept."""
        return self._connection.get("/v1/usage", Usage)

    def collect(self, *, dry_run: bool = False, older_than_s: float = _A_DAY_S, explain: int = 0) -> Swept:
        """Carry out the policy and collect blobs that no record has and that are older than `older_than_s`.

        With `explain` the answer tells the fate of so many blobs and why.
        """
        body = {"dry_run": dry_run, "older_than_s": older_than_s, "explain": explain}
        return self._connection.post("/v1/gc", Swept, body)

    def sweeps(self, *, limit: int = 100, before: str | None = None) -> Page[Sweep]:
        """Collections that changed something, newest first."""
        return self._connection.get("/v1/gc", Page[Sweep], limit=limit, before=before)


def _path(identifier: str) -> str:
    return f"/v1/records/{segment(identifier)}"
