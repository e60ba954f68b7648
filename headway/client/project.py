"""The project's declaration, over a connection."""

from __future__ import annotations

from headway.client.http import Connection
from headway.lifecycle.changes.apply import Applied


class Project:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def apply(self, text: str) -> Applied:
        """Make the platform be as `text`, a `headway.toml`, says. Raises `BadSettings`; then nothing is applied."""
        return self._connection.put("/v1/project", Applied, text.encode(), "text/plain; charset=utf-8")

    def text(self) -> str:
        """The declaration that was applied last."""
        return self._connection.download("/v1/project").decode()
