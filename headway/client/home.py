"""Where a home is, and which server is running on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import msgspec

from headway.kernel.blobs import blob_place

PROJECT_FILE = "headway.toml"
SPOOLS = "spool"
"""The folder of a home in which runs keep what the server has not got yet."""


@dataclass(frozen=True)
class HomeFolder:
    """The home beside a client. `shared` says that the server it asks keeps everything here too, so that what is in the
    blobs can be read as files."""

    folder: Path
    shared: bool = False

    @property
    def cache(self) -> Path:
        """What can be found anew: it may be deleted at any time."""
        return self.folder / "cache"

    @property
    def uploads(self) -> Path:
        """Blobs that are being written; `headway gc` clears away what was cut off."""
        return self.folder / "uploads"

    def blob(self, digest: str) -> Path | None:
        """The file that a blob is, if it can be read here."""
        path = self.folder / "blobs" / blob_place(digest)
        return path if self.shared and path.is_file() else None


def find_home(
    home: str | Path | None = None, *, start: Path | None = None, env: Mapping[str, str] = os.environ
) -> Path:
    """`home`, else `HEADWAY_HOME`, else `.headway` beside the nearest `headway.toml` upward of `start`, else in it."""
    named = home or env.get("HEADWAY_HOME")
    if named:
        return Path(named).expanduser().resolve()
    start = (start or Path.cwd()).resolve()
    return (find_project(start) or start) / ".headway"


def find_project(start: Path) -> Path | None:
    """The nearest folder with a `headway.toml`, from `start` upward."""
    return next((folder for folder in (start, *start.parents) if (folder / PROJECT_FILE).is_file()), None)


def running_server(home: Path) -> str | None:
    """The address of the server that runs on `home`, if one is alive."""
    try:
        said = msgspec.json.decode((home / "server.json").read_bytes(), type=_Server)
    except (OSError, msgspec.MsgspecError):
        return None
    return said.url if _alive(said.pid) and _listens(said.url) else None


def owner_token(home: Path) -> str:
    """The secret of the home's owner, or an empty string."""
    try:
        return (home / "tokens" / "owner").read_text().strip()
    except OSError:
        return ""


def is_here(url: str) -> bool:
    """Whether the address is one of this machine that no other can have."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(msgspec.Struct):
    url: str
    pid: int


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _listens(url: str) -> bool:
    import socket  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415

    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1.0):
            return True
    except OSError:
        return False
