"""Who wrote what, when and why; and where things came from."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery

from headway.kernel.ledger import Entry, verify
from headway.kernel.lineage import Edge, ancestry, descent
from headway.kernel.paging import checked
from headway.kernel.records import Value
from headway.server.routing import App, get, post


class Verified(Value):
    entries: int


class Neighbours(Value):
    """Edges upstream (what it came from) and downstream (what came from it), nearest first."""

    up: tuple[Edge, ...]
    down: tuple[Edge, ...]


@get("/v1/ledger")
def entries(
    app: App, after: FromQuery[int | None] = None, subject: FromQuery[str | None] = None, limit: FromQuery[int] = 100
) -> list[Entry]:
    """Entries, newest first; with `after` or `subject` in the order of their number."""
    if after is None and subject is None:
        return app.platform.ledger.latest(limit=checked(limit))
    return app.platform.ledger.entries(after=after or 0, subject=subject, limit=checked(limit))


@post("/v1/ledger/verify", status_code=200)
def verified(app: App) -> Verified:
    """Read everything again and check every seal."""
    return Verified(entries=verify(app.platform.ledger))


@get("/v1/lineage/{identifier:str}")
def lineage(identifier: FromPath[str], app: App) -> Neighbours:
    """Where something came from, and what came from it; at most 1,000 edges each."""
    store = app.platform.lineage
    return Neighbours(up=tuple(ancestry(store, identifier)), down=tuple(descent(store, identifier)))


ROUTES = (entries, verified, lineage)
