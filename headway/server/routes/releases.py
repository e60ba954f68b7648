"""Releases: signed decisions that a model version may run in an environment."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery

from headway.kernel.paging import Page
from headway.lifecycle.releases.records import Release
from headway.server.routing import App, get, post


@get("/v1/releases")
def releases(
    app: App,
    environment: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
    before: FromQuery[str | None] = None,
) -> Page[Release]:
    """The releases of one environment, or of all."""
    return app.platform.releases.list(environment, limit=limit, before=before)


@get("/v1/releases/{identifier:str}")
def release(identifier: FromPath[str], app: App) -> Release:
    """One release."""
    return app.platform.releases.get(identifier)


@post("/v1/releases/{identifier:str}/check", status_code=200)
def check(identifier: FromPath[str], app: App) -> Release:
    """The release, if its signature holds and says what the record says."""
    return app.platform.releases.check(identifier)


ROUTES = (releases, release, check)
