"""Models and their versions."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.errors import NotFound
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.models.origins import Origins
from headway.lifecycle.models.records import AddVersion, Model, ModelVersion, Registered, Trust
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


@get("/v1/models/versions/{ref:str}/origins")
def origins(ref: FromPath[str], app: App) -> Origins:
    """The dataset versions that a version came from, however far back, and the tags that they bear."""
    return app.platform.origins.of(ref)


@get("/v1/models/registrations/{ref:str}")
def registration(ref: FromPath[str], app: App) -> Registered:
    """What was registered as `name@number`, in whatever form, and its files."""
    return app.platform.models.registered(ref)


class GiveTrust(Value):
    """Why a model's content may be run, or may not any more."""

    why: str


@post("/v1/models/versions/{ref:str}/trust")
def trust(ref: FromPath[str], data: JSONBody[GiveTrust], app: App, by: By) -> Trust:
    """Say that what a version holds may be run in an isolated worker; an operator can."""
    return app.platform.models.trust(ref, data.why, by=by)


@post("/v1/models/versions/{ref:str}/distrust", status_code=200)
def distrust(ref: FromPath[str], data: JSONBody[GiveTrust], app: App, by: By) -> Trust:
    """Take back that what a version holds may be run; an operator can."""
    return app.platform.models.distrust(ref, data.why, by=by)


@get("/v1/models/versions/{ref:str}/trust")
def trusted(ref: FromPath[str], app: App) -> Trust:
    """The word that a version may be run."""
    version = app.platform.models.version(ref)
    found = app.platform.models.trusted(version)
    if found is None:
        raise NotFound(f"{version.label} is {version.form}, which needs no trust")
    return found


ROUTES = (add, models, versions, version, origins, registration, trust, distrust, trusted)
