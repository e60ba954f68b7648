"""Rollouts: the move of a deployment from one release to another."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.access import Permission
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.rollouts.records import Rollout
from headway.server.routing import App, By, get, post


class Reason(Value):
    reason: str


class StartRollout(Value):
    """Without `steps`, those of the environment. `rivals` are further releases for a bandit."""

    deployment: str
    release: str
    steps: tuple[int, ...] = ()
    rivals: tuple[str, ...] = ()
    why: str = ""


@post("/v1/rollouts")
def start(data: JSONBody[StartRollout], app: App, by: By) -> Rollout:
    """Begin to move a deployment to a release by hand."""
    return app.platform.rollouts.start(
        data.deployment, data.release, by=by, steps=data.steps, why=data.why, rivals=data.rivals
    )


@get("/v1/rollouts")
def rollouts(
    app: App,
    deployment: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
    before: FromQuery[str | None] = None,
) -> Page[Rollout]:
    """The rollouts of one deployment, or of all."""
    return app.platform.rollouts.list(deployment, limit=limit, before=before)


@get("/v1/rollouts/{identifier:str}")
def rollout(identifier: FromPath[str], app: App) -> Rollout:
    """One rollout."""
    return app.platform.rollouts.get(identifier)


@post("/v1/rollouts/{identifier:str}/pause", status_code=200)
def pause(identifier: FromPath[str], data: JSONBody[Reason], app: App, by: By) -> Rollout:
    """Stay at the present step; harm still sends the candidate back."""
    return app.platform.rollouts.pause(identifier, data.reason, by=by)


@post("/v1/rollouts/{identifier:str}/resume", status_code=200)
def resume(identifier: FromPath[str], data: JSONBody[Reason], app: App, by: By) -> Rollout:
    """Go on after a pause."""
    return app.platform.rollouts.resume(identifier, data.reason, by=by)


@post("/v1/rollouts/{identifier:str}/advance", status_code=200)
def advance(identifier: FromPath[str], data: JSONBody[Reason], app: App, by: By) -> Rollout:
    """Take the next step now, whatever was shown so far."""
    by.must(Permission.OPERATE)
    rollouts, predictions = app.platform.rollouts, app.platform.predictions
    now = rollouts.get(identifier)
    moment, labelled = predictions.last_event_at(now.deployment), predictions.pairs(now)
    return rollouts.advance(identifier, now.step + 1, data.reason, by=by, event_at=moment, labelled=labelled)


@post("/v1/rollouts/{identifier:str}/roll-back", status_code=200)
def roll_back(identifier: FromPath[str], data: JSONBody[Reason], app: App, by: By) -> Rollout:
    """Give all traffic back to what served before."""
    return app.platform.rollouts.roll_back(identifier, data.reason, by=by)


ROUTES = (start, rollouts, rollout, pause, resume, advance, roll_back)
