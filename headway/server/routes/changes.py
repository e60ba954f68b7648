"""Changes, the unit of delivery."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.clock import Instant
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.changes.dora import Figures
from headway.lifecycle.changes.records import Change, OpenChange
from headway.lifecycle.releases.records import Approval, Decision
from headway.server.routing import App, By, aware, get, post


class Reason(Value):
    reason: str


@post("/v1/changes")
def open_change(data: JSONBody[OpenChange], app: App, by: By) -> Change:
    """Open a change for a pipeline to run, or for a model version that is there."""
    return app.platform.changes.open(data, by=by)


@get("/v1/changes")
def changes(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[Change]:
    """All changes."""
    return app.platform.changes.list(limit=limit, before=before)


@get("/v1/changes/dora")
def dora(app: App, since: FromQuery[Instant | None] = None, until: FromQuery[Instant | None] = None) -> Figures:
    """The four delivery figures of the changes that ended in [since, until): the last 90 days if left out."""
    return app.platform.changes.dora(aware(since), aware(until))


@get("/v1/changes/{ref:str}")
def change(ref: FromPath[str], app: App) -> Change:
    """One change, by id or number."""
    return app.platform.changes.find(ref)


@get("/v1/changes/{ref:str}/approvals")
def approvals(ref: FromPath[str], app: App) -> Page[Approval]:
    """Who agreed to a change or declined it, and why."""
    return Page(items=tuple(app.platform.releases.approvals(app.platform.changes.find(ref).id)))


@post("/v1/changes/{ref:str}/approve")
def approve(ref: FromPath[str], data: JSONBody[Reason], app: App, by: By) -> Approval:
    """Agree to a change that its gate has let pass."""
    return app.platform.changes.decide(ref, Decision.AGREE, data.reason, by=by)


@post("/v1/changes/{ref:str}/decline")
def decline(ref: FromPath[str], data: JSONBody[Reason], app: App, by: By) -> Approval:
    """Decline a change that its gate has let pass."""
    return app.platform.changes.decide(ref, Decision.DECLINE, data.reason, by=by)


@post("/v1/changes/{ref:str}/cancel", status_code=200)
def cancel(ref: FromPath[str], data: JSONBody[Reason], app: App, by: By) -> Change:
    """Give a change up before any traffic moves."""
    return app.platform.changes.cancel(ref, data.reason, by=by)


ROUTES = (open_change, changes, dora, change, approvals, approve, decline, cancel)
