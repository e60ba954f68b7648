"""Feature views, and what is looked up in them."""

from __future__ import annotations

from datetime import datetime

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.feature_views.records import DefineFeatures, FeatureView, LookedUp, LookUp, Materialisation
from headway.server.routing import App, By, get, post


class Materialise(Value):
    """`version` is a number of the source, the newest one if left out; `as_of` is now."""

    version: str = ""
    as_of: datetime | None = None


@post("/v1/feature-views")
def define(data: JSONBody[DefineFeatures], app: App, by: By) -> FeatureView:
    """Define a feature view, or its next version; the one there is if it says the same."""
    return app.platform.feature_views.define(data, by=by)


@get("/v1/feature-views")
def feature_views(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[FeatureView]:
    """All versions of all feature views."""
    return app.platform.feature_views.list(limit=limit, before=before)


@get("/v1/feature-views/{ref:str}")
def feature_view(ref: FromPath[str], app: App) -> FeatureView:
    """A version by id, by `name` (the newest) or by `name@number`."""
    return app.platform.feature_views.get(ref)


@post("/v1/feature-views/{ref:str}/materialise")
def materialise(ref: FromPath[str], data: JSONBody[Materialise], app: App, by: By) -> Materialisation:
    """Make the newest values of each entity ready to be looked up."""
    return app.platform.feature_views.materialise(ref, version=data.version, as_of=data.as_of, by=by)


@get("/v1/feature-views/{ref:str}/materialisations")
def materialisations(
    ref: FromPath[str], app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None
) -> Page[Materialisation]:
    """When a feature view was materialised, from what, and what that changed."""
    return app.platform.feature_views.materialisations(ref, limit=limit, before=before)


@post("/v1/feature-views/{ref:str}/look-up", status_code=200)
def look_up(ref: FromPath[str], data: JSONBody[LookUp], app: App) -> LookedUp:
    """The newest values of entities, with their age."""
    return app.platform.feature_views.look_up(ref, data)


ROUTES = (define, feature_views, feature_view, materialise, materialisations, look_up)
