"""Triggers: what opens changes. Their secrets never leave, but for the one time when they are made."""

from __future__ import annotations

from typing import Annotated

from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, RawBody

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.changes.asked import Backfill, Backfilled, FireTrigger, Heard
from headway.lifecycle.changes.hooks import MOST_BYTES
from headway.lifecycle.changes.records import Firing, FiringState, Trigger
from headway.lifecycle.changes.triggers import Standing
from headway.server.body import ApiRequest
from headway.server.routing import BYTES, App, By, get, post


class PauseTrigger(Value):
    why: str


class Renewed(Value):
    secret: str
    """Requests are signed with it; shown this once."""


@get("/v1/triggers")
def triggers(app: App) -> Page[Trigger]:
    """What opens changes by itself."""
    return Page(items=tuple(_shown(each) for each in app.platform.triggers.all()))


@get("/v1/triggers/{ref:str}")
def trigger(ref: FromPath[str], app: App) -> Standing:
    """One trigger, by name or id: when it is due, what waits, and what came last."""
    standing = app.platform.triggers.standing(ref)
    return standing.but(trigger=_shown(standing.trigger))


@get("/v1/triggers/{ref:str}/firings")
def firings(
    ref: FromPath[str],
    app: App,
    firing_state: Annotated[FiringState | None, QueryParameter(name="state")] = None,
    limit: FromQuery[int] = 100,
    before: FromQuery[str | None] = None,
) -> Page[Firing]:
    """What a trigger took notice of, and what became of it."""
    return app.platform.triggers.history(ref, state=firing_state, limit=limit, before=before)


@post("/v1/triggers/{ref:str}/fire")
def fire(ref: FromPath[str], data: JSONBody[FireTrigger], app: App, by: By) -> Firing:
    """Have a trigger open a change now; the same key again opens no second one."""
    return app.platform.asked.fire(ref, data, by=by)


@post("/v1/triggers/{ref:str}/pause", status_code=200)
def pause(ref: FromPath[str], data: JSONBody[PauseTrigger], app: App, by: By) -> Trigger:
    """Have a trigger take notice of nothing until it is resumed."""
    return _shown(app.platform.triggers.pause(ref, data.why, by=by))


@post("/v1/triggers/{ref:str}/resume", status_code=200)
def resume(ref: FromPath[str], app: App, by: By) -> Trigger:
    """Have a trigger go on, with what comes from now on."""
    return _shown(app.platform.triggers.resume(ref, by=by))


@post("/v1/triggers/{ref:str}/backfill", status_code=200)
def backfill(ref: FromPath[str], data: JSONBody[Backfill], app: App, by: By) -> Backfilled:
    """One change for each due time of a range that has none yet; or say which, without doing it."""
    return app.platform.asked.backfill(ref, data, by=by)


@post("/v1/triggers/{ref:str}/secret")
def secret(ref: FromPath[str], app: App, by: By) -> Renewed:
    """Make the secret that signs requests to fire it; it is in this answer only, and the one before holds no more."""
    return Renewed(secret=app.platform.asked.renew_secret(ref, by=by))


@post("/v1/triggers/{ref:str}/webhook", status_code=200, request_max_body_size=MOST_BYTES, opt={"body": BYTES})
def webhook(ref: FromPath[str], body: RawBody, request: ApiRequest, app: App) -> Heard:
    """Fire a trigger by a request that is signed with its secret, or by a push of GitHub or GitLab. Takes no token."""
    return app.platform.asked.hear(ref, dict(request.headers.items()), body)


def _shown(trigger: Trigger) -> Trigger:
    return trigger.but(sealed_secret="")


ROUTES = (triggers, trigger, firings, fire, pause, resume, backfill, secret, webhook)
