"""Models and their versions."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.lifecycle.models.records import AddVersion, Model, ModelVersion
from headway.server.routing import App, By, get, post


@post("/v1/models/versions")
def add(data: JSONBody[AddVersion], app: App, by: By) -> ModelVersion:
    """Register the next version; the same run registering the same bytes again gets the version it has."""
    return app.platform.models.add(data, by=by)


@get("/v1/models")
def models(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[Model]:
    """All models."""
    return app.platform.models.list(limit=limit, before=before)


@get("/v1/models/versions")
def versions(
    app: App, model: FromQuery[str | None] = None, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None
) -> Page[ModelVersion]:
    """The versions of one model, or of all."""
    return app.platform.models.versions(model, limit=limit, before=before)


@get("/v1/models/versions/{ref:str}")
def version(ref: FromPath[str], app: App) -> ModelVersion:
    """A version by id, by `name` (the newest) or by `name@number`."""
    return app.platform.models.version(ref)


ROUTES = (add, models, versions, version)
