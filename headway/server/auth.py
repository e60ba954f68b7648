"""Who asks: one guard before every route. What is not listed as public needs a token."""

from __future__ import annotations

import getpass
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from anyio import to_thread
from litestar.types import ASGIApp, Receive, Send

from headway.errors import Forbidden, Invalid, NotSignedIn
from headway.kernel.access import AccessService, Actor, Permission, Role
from headway.server.errors import rendered
from headway.server.links import Links
from headway.server.mlflow.wire import failure, speaks
from headway.server.settings import Auth, Settings

PUBLIC = frozenset({"/health", "/version", "/schema", "/schema/openapi.json"})
SIGNED = re.compile(r"/v1/triggers/[^/]+/webhook")
"""What is let in by the signature of its body, which the route looks at, and takes no token."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_ACTOR = "headway_actor"
_MOST_HOSTS = 100


def actor_of(scope: Any) -> Actor:
    """Whom the guard let in."""
    actor: Actor = scope[_ACTOR]
    return actor


class Guard:
    """Lets through to `app` who has a token that holds, or a link that was signed, and everybody to what is public.

    It also refuses names that are not its own (a foreign page can make its own name lead here: DNS rebinding): on
    loopback those that are not this machine's, elsewhere those that are not in `Settings.hosts`, once there are some.
    And it refuses writes that a page of another origin sends.
    """

    def __init__(self, app: ASGIApp, access: AccessService, settings: Settings, links: Links) -> None:
        self._app, self._access, self._hosts, self._links = app, access, _hosts_of(settings), links
        self._known_hosts: set[bytes] = set()
        self._local_owner: Actor | None = None
        if settings.auth is Auth.NONE:
            self._local_owner = Actor(name=_user(), role=Role.OWNER)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # nothing else is served
            return
        try:
            await self._check(scope)
        except Exception as error:
            await _answer(send, scope["path"], error)
        else:
            await self._app(scope, receive, send)

    async def _check(self, scope: Any) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if len(headers) != len(scope["headers"]) and _told_twice(scope["headers"]):
            raise Invalid("host, origin and authorization may be sent once each")
        if not self._answers_to(host):
            raise Forbidden(
                f"this server does not answer to {host[:100]!r}; an operator may allow that name with --allow-host"
            )
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] not in _SAFE and _netloc(origin) != host:
            raise Forbidden(f"writes from pages of another origin are refused ({origin[:100]!r})")
        if scope["path"] not in PUBLIC and not SIGNED.fullmatch(scope["path"]):
            actor = await self._linked(scope) or await self._actor(headers.get(b"authorization"))
            actor.must(Permission.READ)
            scope[_ACTOR] = actor

    async def _linked(self, scope: Any) -> Actor | None:
        """Whom a link speaks for, as long as that one would still be let in."""
        actor = self._links.actor(scope)
        if actor is None or actor == self._local_owner:
            return actor
        if not await to_thread.run_sync(self._access.lasting, actor.name, actor.role):
            raise Forbidden("the token that this link was made with is revoked or past its time; ask for a new one")
        return actor

    def at_once(self, fields: Mapping[bytes, bytes]) -> Actor | None:
        """Whom `__call__` would let in by these headers, each there once and none of them `origin`, if that can be said
        without asking the store; None for anybody else."""
        host = fields.get(b"host", b"")
        if host not in self._known_hosts:
            if not self._answers_to(host.decode("latin-1")):
                return None
            if len(self._known_hosts) < _MOST_HOSTS:
                self._known_hosts.add(host)
        authorization = fields.get(b"authorization")
        if authorization is None:
            return self._local_owner
        if not authorization.startswith(b"Bearer "):
            return None
        actor = self._access.remembered(authorization[7:].decode("latin-1").strip())
        return actor if actor is not None and actor.may(Permission.READ) else None

    def _answers_to(self, host: str) -> bool:
        return self._hosts is None or not self._hosts.isdisjoint((_hostname(host), host.lower()))

    async def _actor(self, authorization: str | None) -> Actor:
        if authorization is None:
            if self._local_owner is None:
                raise NotSignedIn("this needs a token: send it as `Authorization: Bearer hw_...`")
            return self._local_owner
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return await self._holder(secret.strip())
        if scheme.lower() == "basic":
            name, password = _credentials(secret.strip())
            actor = await self._holder(password)
            if actor.name == name:
                return actor
            raise NotSignedIn("the user is the name of the token, and the password its secret")
        raise NotSignedIn("send the token as `Authorization: Bearer hw_...`")

    async def _holder(self, secret: str) -> Actor:
        known = self._access.remembered(secret)
        return known if known is not None else await to_thread.run_sync(self._access.actor, secret)


def _credentials(encoded: str) -> tuple[str, str]:
    """User and password, as HTTP's Basic scheme writes them (RFC 7617)."""
    try:
        name, colon, password = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError as error:
        raise NotSignedIn("Basic credentials are base64 of user:password") from error
    if not colon:
        raise NotSignedIn("Basic credentials are base64 of user:password")
    return name, password


def _hosts_of(settings: Settings) -> frozenset[str] | None:
    """The names it answers to; None for any."""
    if not settings.loopback and not settings.hosts:
        return None
    return _LOCAL_NAMES | {settings.host.lower(), *settings.hosts}


def _told_twice(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    names = [name for name, _ in headers if name in (b"host", b"origin", b"authorization")]
    return len(names) != len(set(names))


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a process whose user has no name
        return "local"


async def _answer(send: Send, path: str, error: Exception) -> None:
    status, body, extra = failure(error) if speaks(path) else rendered(error)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **extra}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})
