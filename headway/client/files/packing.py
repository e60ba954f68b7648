"""Writing pieces into packs, each of which is synced once, and handing those over while the next one is filled."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex

from blake3 import blake3

from headway.lifecycle.datasets.pack import HEAD, PACK_BYTES, Index, index_tail

_WRITE_BYTES = 1 << 20
_LARGE_BYTES = 32 << 10
_MOST_WAITING = 2

Ship = Callable[[Path, str, int], None]
"""Hands a file over that is whole: its digest and its size. It is kept when this returns, and the file is gone."""


class PackWriter:
    """Fills packs in `folder`. `digests` are those of the packs that were handed over, once `close` has returned."""

    def __init__(self, folder: Path, ship: Ship, pack_bytes: int = PACK_BYTES) -> None:
        self._folder, self._ship, self._pack_bytes = folder, ship, pack_bytes
        self._pool = ThreadPoolExecutor(max_workers=_MOST_WAITING, thread_name_prefix="headway-packs")
        self._waiting: list[Future[None]] = []
        self._path: Path | None = None
        self.digests: list[str] = []

    def add(self, name: bytes, data: bytes | memoryview) -> None:
        """Write a piece. The caller sees to it that it is added once."""
        if self._path is None:
            self._begin()
        self._digests.append(name)
        self._lengths.append(len(data))
        self._size += len(data)
        if len(data) >= _LARGE_BYTES:  # to copy it takes longer than to hash it
            self._flush()
            self._write(data)
        else:
            self._buffer += data
            if len(self._buffer) >= _WRITE_BYTES:
                self._flush()
        if self._size >= self._pack_bytes:
            self._seal()

    def close(self) -> None:
        """Return once every pack is kept."""
        if self._path is not None:
            self._seal()
        for waiting in self._waiting:
            waiting.result()
        self._pool.shutdown()

    def abandon(self) -> None:
        """Let what is being handed over come to its end, and remove what was not."""
        self._pool.shutdown(cancel_futures=True)
        if self._path is not None:
            os.close(self._handle)
            self._path.unlink(missing_ok=True)
            self._path = None

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = self._folder / f"blob-{token_hex(8)}"
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._hasher, self._buffer, self._size = blake3(max_threads=blake3.AUTO), bytearray(HEAD), len(HEAD)
        self._digests: list[bytes] = []
        self._lengths: list[int] = []

    def _flush(self) -> None:
        self._write(self._buffer)
        self._buffer = bytearray()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._hasher.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    def _seal(self) -> None:
        assert self._path is not None
        path, self._path = self._path, None
        tail = index_tail(Index(digests=b"".join(self._digests), lengths=self._lengths))
        self._buffer += tail
        self._flush()
        size = self._size + len(tail)
        os.close(self._handle)
        digest = "b3:" + self._hasher.hexdigest()
        self.digests.append(digest)
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(self._ship, path, digest, size))
