"""The home: one folder that holds all that a control plane keeps, and that can be copied while it is down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from headway.engines.processes import write_whole
from headway.errors import BadSettings, NotFound
from headway.kernel.records import Value


class Serving(Value):
    """What `server.json` says while a server runs."""

    url: str
    pid: int


@dataclass(frozen=True)
class Home:
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "headway.db"

    @property
    def anchor(self) -> Path:
        return self.folder / "ledger.head"

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    @property
    def uploads(self) -> Path:
        """Bodies on their way into the blobs."""
        return self.folder / "uploads"

    @property
    def signing_key(self) -> Path:
        return self.folder / "keys" / "releases.pem"

    @property
    def webhook_key(self) -> Path:
        return self.folder / "keys" / "webhooks.key"

    @property
    def server(self) -> Path:
        """Where the running server says its URL and pid."""
        return self.folder / "server.json"

    @property
    def lock(self) -> Path:
        """Locked by the server for as long as it runs."""
        return self.folder / "lock"

    def token(self, name: str) -> Path:
        return self.folder / "tokens" / name

    def serving(self) -> Serving | None:
        """The server of this home, as it last said; whether it lives is for the lock to tell."""
        try:
            return msgspec.json.decode(self.server.read_bytes(), type=Serving)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def prepare(self) -> None:
        """Make the folders, for the owner alone; raises `BadSettings` when that cannot be."""
        try:
            for folder in (self.folder, self.blobs, self.uploads, self.token("owner").parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BadSettings(f"{self.folder} cannot be the home: {error}; choose another with HEADWAY_HOME") from error

    def keep_project(self, text: str) -> None:
        write_whole(self._project, text.encode())

    def project(self) -> str:
        """The `headway.toml` that was applied last."""
        try:
            return self._project.read_text()
        except FileNotFoundError as error:
            raise NotFound(
                "no project was applied yet; `headway up` in a project folder applies its headway.toml"
            ) from error

    @property
    def _project(self) -> Path:
        return self.folder / "project.toml"
