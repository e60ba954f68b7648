"""Bytes in the server's store, addressed by their digest."""

from __future__ import annotations

from pathlib import Path

from headway.client.http import Connection, segment
from headway.errors import LedgerBroken
from headway.kernel.records import Value, digest

_ASK_FIRST_ABOVE = 64 * 1024
"""Below this size, sending is as quick as asking whether it is there."""


class Kept(Value):
    digest: str
    size: int


class Blobs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, data: bytes) -> str:
        """Keep `data`; what is there already is not sent again. Returns its digest."""
        name = digest(data)
        if len(data) <= _ASK_FIRST_ABOVE or not self.has(name):
            self._connection.put(_path(name), Kept, data, "application/octet-stream")
        return name

    def put_file(self, file: Path, name: str, size: int) -> None:
        """Keep the `size` bytes of `file`, whose digest is `name`, without reading them into memory."""
        if size <= _ASK_FIRST_ABOVE or not self.has(name):
            self._connection.upload(_path(name), Kept, file)

    def get(self, name: str) -> bytes:
        """The bytes; raises `LedgerBroken` when they arrive changed."""
        data = self._connection.download(_path(name))
        if digest(data) != name:
            raise LedgerBroken(f"{name} arrived changed; check the store with `headway ledger verify`")
        return data

    def has(self, name: str) -> bool:
        return self._connection.exists(_path(name))


def _path(name: str) -> str:
    return f"/v1/blobs/{segment(name)}"
