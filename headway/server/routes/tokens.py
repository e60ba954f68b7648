"""Access tokens. What is kept of a secret never leaves."""

from __future__ import annotations

from typing import Annotated

from litestar.params import FromPath, JSONBody
from msgspec import Meta

from headway.kernel.access import AccessToken, Actor, Permission, Role
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.server.routing import App, By, delete, get, post


class GrantToken(Value):
    """`days` until it expires; never, if left out."""

    name: str
    role: Role
    days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class Granted(Value):
    token: AccessToken
    secret: str
    """Shown this once."""


@get("/v1/me")
def me(by: By) -> Actor:
    """Who you are."""
    return by


@post("/v1/tokens")
def grant(data: JSONBody[GrantToken], app: App, by: By) -> Granted:
    """Make a token; its secret is in this answer only."""
    token, secret = app.platform.access.grant(data.name, data.role, by=by, days=data.days)
    return Granted(token=_shown(token), secret=secret)


@get("/v1/tokens")
def tokens(app: App, by: By) -> Page[AccessToken]:
    """All tokens, without what is kept of their secrets."""
    by.must(Permission.GRANT)
    return Page(items=tuple(_shown(token) for token in app.platform.access.list()))


@delete("/v1/tokens/{name:path}", status_code=200)
def revoke(name: FromPath[str], app: App, by: By) -> AccessToken:
    """Revoke a token at once."""
    return _shown(app.platform.access.revoke(name.removeprefix("/"), by=by))


def _shown(token: AccessToken) -> AccessToken:
    return token.but(secret_sha256="")


ROUTES = (me, grant, tokens, revoke)
