"""The project: what `headway.toml` declares."""

from __future__ import annotations

from litestar.params import RawBody

from headway.errors import BadSettings
from headway.kernel.access import Permission
from headway.lifecycle.changes.apply import Applied, apply
from headway.lifecycle.changes.project import read_project
from headway.server.routing import TEXT, App, By, get, put


@put("/v1/project", opt={"body": TEXT})
def apply_project(body: RawBody, app: App, by: By) -> Applied:
    """Declare everything that a `headway.toml` says, and keep its text."""
    by.must(Permission.OPERATE)
    text = _text(body)
    applied = apply(read_project(text), app.platform, clock=app.clock, ids=app.ids, by=by)
    app.home.keep_project(text)
    return applied


@get("/v1/project", media_type=TEXT)
def project(app: App) -> str:
    """The `headway.toml` that was applied last."""
    return app.home.project()


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadSettings(f"headway.toml is not UTF-8: {error.reason} at byte {error.start}") from error


ROUTES = (apply_project, project)
