"""The tokens that a home makes for itself at its first start, each in a file that only its owner may read."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headway.engines.secret import read_secret, write_secret
from headway.errors import NotSignedIn
from headway.kernel.access import SYSTEM, AccessService, Role, TokenStore, sha256
from headway.server.home import Home

MADE = (Role.OWNER, Role.WORKER, Role.GATEKEEPER)


def ensure_tokens(home: Home, access: AccessService, store: TokenStore) -> None:
    """See that each file holds a token that the database knows.

    One that was revoked stays so while its file is there; a file that is gone, or that is of another database, is
    made anew and the token before it revoked.
    """
    with _alone(home.token("lock")):
        for role in MADE:
            file = home.token(role)
            if file.exists() and store.by_secret(sha256(_secret(file))) is not None:
                continue
            if any(token.name == role and token.revoked_at is None for token in store.all()):
                access.revoke(role, by=SYSTEM)
            _, secret = access.grant(role, role, by=SYSTEM)
            write_secret(file, secret.encode())


def local_token(folder: Path) -> str:
    """The owner's token of the home in `folder`; raises `NotSignedIn` when it has none that you may read."""
    try:
        return _secret(Home(folder).token(Role.OWNER))
    except OSError as error:
        raise NotSignedIn(f"no token of {folder} can be read ({error.strerror}); set HEADWAY_TOKEN") from error


def _secret(file: Path) -> str:
    return read_secret(file).decode().strip()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Only one process at a time makes tokens: each would revoke those of the other."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
