"""Rollouts: the move of a deployment from one release to another."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.rollouts.records import Rollout
from headway.server.routing import App, By, get, post


class RollBack(Value):
    reason: str


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


@post("/v1/rollouts/{identifier:str}/roll-back", status_code=200)
def roll_back(identifier: FromPath[str], data: JSONBody[RollBack], app: App, by: By) -> Rollout:
    """Give all traffic back to what served before."""
    return app.platform.rollouts.roll_back(identifier, data.reason, by=by)


ROUTES = (rollouts, rollout, roll_back)
