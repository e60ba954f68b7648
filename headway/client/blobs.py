"""Bytes in the server's store, addressed by their digest."""

from __future__ import annotations

import os
from pathlib import Path

from headway.client.line import Line, segment
from headway.errors import LedgerBroken
from headway.kernel.records import Value, digest

_ASK_FIRST_ABOVE = 64 * 1024
"""Below this size, sending is as quick as asking whether it is there."""


class Kept(Value):
    digest: str
    size: int


class Blobs:
    def __init__(self, connection: Line) -> None:
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

    def give(self, file: Path, name: str, size: int) -> None:
        """As `put_file`, and the file is gone then."""
        if self._connection.adopt is not None:
            self._connection.adopt(file, name)
        else:
            self.put_file(file, name, size)
            file.unlink()

    def part(self, name: str, start: int, length: int) -> bytes:
        """Some of the bytes, unverified; from the file that the blob is, if it can be read here."""
        path = self.path(name)
        if path is not None:
            with path.open("rb") as file:
                return os.pread(file.fileno(), length, start)
        return self._connection.download(_path(name), start=start, length=length)

    def path(self, name: str) -> Path | None:
        """The file that the blob is, if it can be read here."""
        return self._connection.place.blob(name)

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
