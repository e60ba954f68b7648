"""What is no longer wanted: put aside, taken back, purged; and the space that it took."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.retention.policy import RetentionPolicy
from headway.lifecycle.retention.records import Purged, Standing, Sweep, Swept, Tombstone, Usage
from headway.lifecycle.retention.sweeping import A_DAY_S
from headway.server.metrics import count_sweep
from headway.server.routing import App, By, get, post


class Purge(Value):
    why: str
    """Kept in the ledger."""


class Collect(Value):
    """`explain` is how many blobs are explained in the answer."""

    dry_run: bool = False
    older_than_s: float = A_DAY_S
    explain: int = 0


@post("/v1/records/{identifier:str}/delete", status_code=200)
def delete(identifier: FromPath[str], app: App, by: By) -> Standing:
    """Put a run, an experiment, a model, a version or a trace aside, by its id; it can be restored."""
    return app.platform.retention.delete(identifier, by=by)


@post("/v1/records/{identifier:str}/restore", status_code=200)
def restore(identifier: FromPath[str], app: App, by: By) -> Standing:
    """Take back what was put aside."""
    return app.platform.retention.restore(identifier, by=by)


@post("/v1/records/{identifier:str}/purge", status_code=200)
def purge(identifier: FromPath[str], data: JSONBody[Purge], app: App, by: By) -> Purged:
    """Remove what was put aside, with its parts, for good; a tombstone of each stays."""
    return app.platform.retention.purge(identifier, data.why, by=by)


@get("/v1/tombstones")
def tombstones(
    app: App, kind: FromQuery[str | None] = None, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None
) -> Page[Tombstone]:
    """What was purged; of one kind with the prefix of its ids, such as `rn`."""
    return app.platform.retention.tombstones(kind, limit=limit, before=before)


@get("/v1/tombstones/{identifier:str}")
def tombstone(identifier: FromPath[str], app: App) -> Tombstone:
    """What is left of something that was purged, by the id it had."""
    return app.platform.retention.tombstone(identifier)


@get("/v1/retention")
def retention(app: App) -> RetentionPolicy:
    """How long things are kept, as the project declares it."""
    return app.platform.sweeps.policy()


@get("/v1/usage")
def usage(app: App) -> Usage:
    """What the blobs take, and how much may be kept."""
    return app.platform.sweeps.usage()


@post("/v1/gc", status_code=200)
def collect(data: JSONBody[Collect], app: App, by: By) -> Swept:
    """Carry out the retention policy, and collect the blobs that no record has; or tell what that would do."""
    swept = app.platform.sweeps.sweep(
        by=by, older_than_s=data.older_than_s, dry_run=data.dry_run, explain=data.explain
    )  # fmt: skip
    count_sweep(app.counters, swept.sweep)
    return swept


@get("/v1/gc")
def sweeps(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[Sweep]:
    """Collections that changed something."""
    return app.platform.sweeps.list(limit=limit, before=before)


ROUTES = (delete, restore, purge, tombstones, tombstone, retention, usage, collect, sweeps)
