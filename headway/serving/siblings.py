"""How the workers of a model server know of each other: a Unix socket each, and a file with what each has counted.

A worker is one of several slots. The file outlives it: whoever takes its slot counts on from there, and until then
the others add it up, so that sums do not fall when a worker dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from headway.kernel.records import encode
from headway.serving.snapshots import Snapshot

SNAPSHOT_TIMEOUT_S, FLUSH_TIMEOUT_S = 2.0, 30.0
_SNAPSHOT, _FLUSH = b"snapshot\n", b"flush\n"
_MOST_BYTES = 2**24

_decode = msgspec.json.Decoder(Snapshot).decode


class Siblings:
    """`folder` is for the workers of one server alone; `slot` is this one's."""

    def __init__(self, folder: Path, slot: int) -> None:
        self._folder, self._slot = folder, slot
        self._file = folder / f"{slot}.json"
        self._snapshot: Callable[[], Snapshot]
        self._flush: Callable[[], Awaitable[object]]

    def before(self) -> Snapshot | None:
        """What the worker that had this slot before has left."""
        return _read(self._file)

    async def start(self, snapshot: Callable[[], Snapshot], flush: Callable[[], Awaitable[object]]) -> None:
        """Answer the others by these two."""
        self._snapshot, self._flush = snapshot, flush
        path = socket_path(self._folder, self._slot)
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path)
        self.keep()

    def keep(self) -> None:
        """Write down what is counted by now."""
        unfinished = self._file.with_suffix(".new")
        with suppress(FileNotFoundError):  # the parent is gone and so is the folder
            unfinished.write_bytes(encode(self._snapshot()))
            unfinished.rename(self._file)

    async def stop(self) -> None:
        self.keep()
        self._server.close()
        socket_path(self._folder, self._slot).unlink(missing_ok=True)

    async def snapshots(self, *, flush: bool = False) -> tuple[list[Snapshot], list[Snapshot]]:
        """What the others have counted, once they have handed in what they captured if `flush`: those that answer,
        and of those that do not, what they had written down."""
        slots = [int(file.stem) for file in self._folder.glob("*.json")]
        others = [slot for slot in slots if slot != self._slot]
        asked = await asyncio.gather(*(self._ask(slot, _FLUSH if flush else _SNAPSHOT) for slot in others))
        alive = [answer for answer in asked if answer]
        silent = [slot for slot, answer in zip(others, asked, strict=True) if not answer]
        dead = [_read(self._folder / f"{slot}.json") for slot in silent]
        return alive, [each for each in dead if each]

    async def _ask(self, slot: int, what: bytes) -> Snapshot | None:
        with suppress(OSError, msgspec.MsgspecError, TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S if what == _FLUSH else SNAPSHOT_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(socket_path(self._folder, slot))
                try:
                    writer.write(what)
                    return _decode(await reader.read(_MOST_BYTES))
                finally:
                    writer.close()
        return None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readline() == _FLUSH:
                await self._flush()
            writer.write(encode(self._snapshot()))
            await writer.drain()
        except OSError:  # the one that asked is gone
            pass
        finally:
            writer.close()


def socket_path(folder: Path, slot: int) -> Path:
    """There once the worker of `slot` is ready."""
    return folder / f"{slot}.sock"


def _read(file: Path) -> Snapshot | None:
    try:
        return _decode(file.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
