"""Who acts, what they may do, and the tokens that say so. Nothing is allowed that is not listed here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from headway.errors import AlreadyExists, Forbidden, Invalid, NotFound, NotSignedIn
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.records import Record, Value

_REMEMBERED_FOR = timedelta(seconds=1)
"""How long another process of the same database may go on accepting a token that was revoked here."""
_MOST_REMEMBERED = 1000


class Role(StrEnum):
    READER = "reader"
    AUTHOR = "author"
    APPROVER = "approver"
    OPERATOR = "operator"
    OWNER = "owner"
    WORKER = "worker"
    """A process of the platform that runs a project's code, or a model server."""
    GATEKEEPER = "gatekeeper"
    """The process of the platform that measures what a gate demands."""


class Permission(StrEnum):
    READ = "read"
    WRITE = "write"
    """Log runs, add data, register models, open changes."""
    LABEL = "label"
    """Send predictions and labels."""
    APPROVE = "approve"
    JUDGE = "judge"
    """Hand in what a gate's checks measured."""
    CAPTURE = "capture"
    """Hand in captured predictions."""
    OPERATE = "operate"
    """Apply a project, move traffic, roll back, acknowledge alerts."""
    BREAK_GLASS = "break_glass"
    GRANT = "grant"
    """Make and revoke tokens."""


_AUTHOR = {Permission.READ, Permission.WRITE, Permission.LABEL}
_MAY: dict[Role, set[Permission]] = {
    Role.READER: {Permission.READ},
    Role.AUTHOR: _AUTHOR,
    Role.APPROVER: {Permission.READ, Permission.APPROVE},
    Role.OPERATOR: _AUTHOR | {Permission.OPERATE},
    Role.OWNER: set(Permission) - {Permission.JUDGE},
    Role.WORKER: _AUTHOR | {Permission.CAPTURE},
    Role.GATEKEEPER: {Permission.READ, Permission.JUDGE},
}


class Actor(Value):
    """A person or a part of the platform, as it stands in the ledger."""

    name: str
    role: Role

    def may(self, permission: Permission) -> bool:
        return permission in _MAY[self.role]

    def must(self, permission: Permission) -> None:
        """Raise `Forbidden` unless this actor has `permission`."""
        if not self.may(permission):
            able = ", ".join(role for role, granted in _MAY.items() if permission in granted)
            raise Forbidden(f"{self.name} ({self.role}) may not {permission}; it takes one of: {able}")


SYSTEM = Actor(name="headway", role=Role.OWNER)
"""The platform itself: conductor, scheduler, monitors."""


class AccessToken(Record, prefix="tk"):
    """What is kept of a token: never the secret, only its SHA-256."""

    name: str
    role: Role
    secret_sha256: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def actor(self) -> Actor:
        return Actor(name=self.name, role=self.role)


class TokenStore(Protocol):
    def put(self, record: AccessToken) -> None: ...
    def by_secret(self, secret_sha256: str) -> AccessToken | None: ...
    def all(self) -> Iterable[AccessToken]: ...


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class AccessService:
    """Make, check and revoke tokens."""

    def __init__(self, journal: Journal, store: TokenStore, clock: Clock, ids: Ids) -> None:
        self._journal, self._store, self._clock, self._ids = journal, store, clock, ids
        self._remembered: dict[str, tuple[AccessToken, datetime]] = {}
        self._revocations = 0

    def grant(self, name: str, role: Role, *, by: Actor, days: int | None = None) -> tuple[AccessToken, str]:
        """A new token and its secret, which is shown this once."""
        by.must(Permission.GRANT)
        if not name or len(name) > 100:
            raise Invalid("a token needs a name of 1 to 100 characters")
        if any(token.name == name and token.revoked_at is None for token in self._store.all()):
            raise AlreadyExists(f"there is a token named {name!r} already; revoke it first or choose another name")
        import secrets  # noqa: PLC0415  # slow to import, and most processes make no token

        secret = "hw_" + secrets.token_urlsafe(32)
        now = self._clock.now()
        token = AccessToken(
            id=self._ids(AccessToken.prefix), created_at=now, name=name, role=role, secret_sha256=sha256(secret),
            expires_at=now + timedelta(days=days) if days else None,
        )  # fmt: skip
        with self._journal.act(by.name, "token.grant") as act:
            act.save(self._store, token)
        return token, secret

    def revoke(self, name: str, *, by: Actor) -> AccessToken:
        by.must(Permission.GRANT)
        for token in self._store.all():
            if token.name == name and token.revoked_at is None:
                revoked = token.but(revoked_at=self._clock.now())
                with self._journal.act(by.name, "token.revoke") as act:
                    act.save(self._store, revoked)
                self._revocations += 1
                self._remembered.clear()
                return revoked
        raise NotFound(f"no token named {name!r}")

    def list(self) -> Iterable[AccessToken]:
        return self._store.all()

    def actor(self, secret: str) -> Actor:
        """Who holds `secret`; raises `NotSignedIn` for one that is unknown, revoked or past its time."""
        hashed, revocations = sha256(secret), self._revocations
        token = self._store.by_secret(hashed)
        now = self._clock.now()
        if token is None or token.revoked_at or not _lasts(token, now):
            raise NotSignedIn("this token is unknown, expired or revoked; ask an owner for `headway token create`")
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[hashed] = (token, now)
        if revocations != self._revocations:  # by another thread, perhaps of this token, while it was read
            self._remembered.clear()
        return token.actor()

    def lasting(self, name: str, role: Role) -> bool:
        """Whether somebody of this name and role still holds a token."""
        now = self._clock.now()
        return any(
            token.name == name and token.role is role and token.revoked_at is None and _lasts(token, now)
            for token in self._store.all()
        )

    def remembered(self, secret: str) -> Actor | None:
        """Who holds `secret`, without asking the store: known for a second after `actor` has asked it, and forgotten
        with the next revocation in this process."""
        token, seen_at = self._remembered.get(sha256(secret), (None, None))
        if token is None or seen_at is None:
            return None
        now = self._clock.now()
        return token.actor() if now - seen_at < _REMEMBERED_FOR and _lasts(token, now) else None


def _lasts(token: AccessToken, now: datetime) -> bool:
    return token.expires_at is None or now < token.expires_at
