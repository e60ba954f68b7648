"""How a control plane is started: where it keeps things, where it listens, who may talk to it, how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from headway.errors import BadSettings, Invalid
from headway.lifecycle.webhooks.addresses import checked_listing

MIB = 1 << 20


class Auth(StrEnum):
    TOKEN = "token"
    NONE = "none"
    """Who has no token is the owner; on loopback only."""


@dataclass(frozen=True)
class Settings:
    """Raises `BadSettings` for what cannot work, and for a server that all could use from elsewhere."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 7070
    """0 takes any free port."""
    auth: Auth = Auth.TOKEN
    database: str = ""
    """URL of a PostgreSQL database; empty for SQLite in the home."""
    project: Path | None = None
    """The folder with `headway.toml` whose pipelines this server runs."""
    hosts: tuple[str, ...] = ()
    """Names that clients may call it by, besides this machine's own; beyond loopback any name, while there are none."""
    arrivals: Path | None = None
    """The folder below which triggers find files that arrive; none while there is none."""
    webhook_hosts: tuple[str, ...] = ()
    """`host` or `host:port` that webhooks may lead to, besides public addresses over https."""
    most_json_bytes: int = 16 * MIB
    most_segment_bytes: int = 64 * MIB
    most_blob_bytes: int = 2048 * MIB
    most_query_s: float = 60.0
    """How long the database may take for one question before it is stopped."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise BadSettings(f"port must be from 0 to 65535, not {self.port}")
        if not self.host:
            raise BadSettings("host must be an address to listen on, such as 127.0.0.1")
        for name in ("most_json_bytes", "most_segment_bytes", "most_blob_bytes"):
            if getattr(self, name) < 1:
                raise BadSettings(f"{name} must be at least 1 byte, not {getattr(self, name)}")
        self._check_hosts()
        if not self.most_query_s > 0:
            raise BadSettings(f"most_query_s must be more than 0 seconds, not {self.most_query_s}")
        if self.auth is Auth.NONE and not self.loopback:
            raise BadSettings(
                f"without authentication the server listens on loopback only, not on {self.host}: "
                "anybody who reaches it would be its owner; use auth=token, or host=127.0.0.1"
            )
        if self.arrivals is not None and not self.arrivals.is_dir():
            raise BadSettings(f"{self.arrivals} is no folder for files to arrive in; make it first")
        if self.project is not None and not (self.project / "headway.toml").is_file():
            raise BadSettings(f"{self.project} is no project: it holds no headway.toml; `headway init` writes one")

    def _check_hosts(self) -> None:
        try:
            for name in (*self.hosts, *self.webhook_hosts):
                if checked_listing(name) != name:
                    raise Invalid(f"{name[:100]!r} is written {checked_listing(name)}")
        except Invalid as error:
            raise BadSettings(f"hosts that are allowed: {error}") from error

    @classmethod
    def of(
        cls, home: str | Path, *, auth: str = Auth.TOKEN, project: str | Path | None = None,
        arrivals: str | Path | None = None, **rest: Any,
    ) -> Self:  # fmt: skip
        """Settings from texts, as a command line or an environment has them."""
        if auth not in list(Auth):
            raise BadSettings(f"auth must be token or none, not {auth!r}")
        folder = Path(project).resolve() if project else None
        arriving = Path(arrivals).expanduser().resolve() if arrivals else None
        return cls(
            home=Path(home).expanduser().resolve(), auth=Auth(auth), project=folder, arrivals=arriving, **rest
        )  # fmt: skip

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
