"""Deployments: standing endpoints, what they serve and served, and how well."""

from __future__ import annotations

from datetime import date

from litestar.params import FromPath, FromQuery, JSONBody

from headway.errors import NotFound
from headway.kernel.clock import Instant
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.predictions.records import Differences, Quality
from headway.lifecycle.rollouts.fallbacks import Fallback
from headway.lifecycle.rollouts.records import Deployment, Shadow, TrafficChange
from headway.lifecycle.rollouts.target import Endpoint
from headway.server.routing import App, By, aware, get, post


class SetPins(Value):
    """Callers by their whole key, and by how their key begins."""

    release: str
    why: str
    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class ClearPins(Value):
    """Without keys and prefixes: all."""

    why: str
    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class SetFallback(Fallback):
    """Command: what answers in the place of a model that fails."""

    why: str = ""


class SetShadow(Shadow):
    why: str = ""


class Why(Value):
    why: str = ""


@get("/v1/deployments")
def deployments(app: App) -> Page[Deployment]:
    """All deployments."""
    return Page(items=tuple(app.platform.deployments.all()))


@get("/v1/deployments/{name:str}")
def deployment(name: FromPath[str], app: App) -> Deployment:
    """One deployment, with the traffic it has now."""
    return app.platform.deployments.get(name)


@get("/v1/deployments/{name:str}/endpoint")
def endpoint(name: FromPath[str], app: App) -> Endpoint:
    """What runs for a deployment now."""
    app.platform.deployments.get(name)
    found = app.target.observe(name) if app.target else None
    if found is None:
        raise NotFound(f"{name} serves nothing yet; ship a model version to it")
    return found


@get("/v1/deployments/{name:str}/traffic")
def traffic(
    name: FromPath[str], app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None
) -> Page[TrafficChange]:
    """Every change of what a deployment serves."""
    app.platform.deployments.get(name)
    return app.platform.deployments.traffic(name, limit=limit, before=before)


@get("/v1/deployments/{name:str}/served")
def served(name: FromPath[str], app: App, at: FromQuery[Instant]) -> TrafficChange:
    """What a deployment served at a moment, and why."""
    found = app.platform.deployments.served(name, aware(at))
    if found is None:
        raise NotFound(f"{name} served nothing at {at.isoformat()}: that was before its first release")
    return found


@get("/v1/deployments/{name:str}/quality")
def quality(
    name: FromPath[str], app: App, release: FromQuery[str | None] = None, since_day: FromQuery[str] = ""
) -> list[Quality]:
    """Realised quality by release and day of events, as sums."""
    app.platform.deployments.get(name)
    return app.platform.predictions.quality(name, release, since_day=since_day)


@post("/v1/deployments/{name:str}/pin", status_code=200)
def pin(name: FromPath[str], data: JSONBody[SetPins], app: App, by: By) -> Deployment:
    """Serve these callers by one release, whatever the shares."""
    return app.platform.deployments.pin(name, data.release, data.why, by=by, keys=data.keys, prefixes=data.prefixes)


@post("/v1/deployments/{name:str}/unpin", status_code=200)
def unpin(name: FromPath[str], data: JSONBody[ClearPins], app: App, by: By) -> Deployment:
    """Let these callers, or all, go where the shares send them."""
    return app.platform.deployments.unpin(name, data.why, by=by, keys=data.keys, prefixes=data.prefixes)


@post("/v1/deployments/{name:str}/shadow", status_code=200)
def shadow(name: FromPath[str], data: JSONBody[SetShadow], app: App, by: By) -> Deployment:
    """Let a release that answers nobody score what is asked, off the requests' path."""
    asked = Shadow(release=data.release, percent=data.percent, tolerance=data.tolerance)
    return app.platform.deployments.shadow(name, asked, data.why, by=by)


@post("/v1/deployments/{name:str}/unshadow", status_code=200)
def unshadow(name: FromPath[str], data: JSONBody[Why], app: App, by: By) -> Deployment:
    """End the shadow."""
    return app.platform.deployments.unshadow(name, data.why, by=by)


@get("/v1/deployments/{name:str}/differences")
def differences(
    name: FromPath[str], app: App, rival: FromQuery[str], day: FromQuery[date | None] = None
) -> list[Differences]:
    """How the scores of a shadow, or of a rollout's other release, differed from the answers, by hour of one day."""
    return app.platform.predictions.differences(name, rival, day)


@post("/v1/deployments/{name:str}/fallback", status_code=200)
def fallback(name: FromPath[str], data: JSONBody[SetFallback], app: App, by: By) -> Deployment:
    """Say what answers when the model that should does not: a release, then a constant."""
    asked = Fallback(release=data.release, constant=data.constant, after_ms=data.after_ms)
    return app.platform.deployments.fallback(name, asked, data.why, by=by)


@post("/v1/deployments/{name:str}/unfallback", status_code=200)
def unfallback(name: FromPath[str], data: JSONBody[Why], app: App, by: By) -> Deployment:
    """End the fallback: failures are failures again."""
    return app.platform.deployments.unfallback(name, data.why, by=by)


STEERING = (pin, unpin, shadow, unshadow, fallback, unfallback)
ROUTES = (deployments, deployment, endpoint, traffic, served, quality, differences, *STEERING)
