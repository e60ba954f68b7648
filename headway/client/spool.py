"""What a run logs, on the disk of the machine that runs it, until the server has it.

A spool is one append-only file: frames of length, CRC-32 and MessagePack. Each logging call writes its frame before
it returns, so that killing the process loses nothing; the disk itself is synced in the background. A frame that was
cut short ends the file. How far the server has got is written into the same file, as a frame of its own.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from headway.errors import Conflict, Invalid, Unavailable

SUFFIX = ".spool"
_HEAD = struct.Struct("<II")
_LONGEST = 64 * 1024 * 1024


class Opening(msgspec.Struct, frozen=True, tag="opening"):
    """The first frame: whose log this is, and the server that it is for."""

    run: str
    url: str


class Points(msgspec.Struct, frozen=True, tag="points"):
    """One value each of some metrics, at one step and time."""

    step: int
    at_us: int
    values: dict[str, float]


class Texts(msgspec.Struct, frozen=True, tag="texts"):
    params: dict[str, str]
    tags: dict[str, str]


class Attached(msgspec.Struct, frozen=True, tag="attached"):
    """An artifact that the run has recorded by itself."""

    name: str
    content: bytes
    media_type: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    state: str
    error: str


class Sent(msgspec.Struct, frozen=True, tag="sent"):
    """The server has everything before this offset."""

    offset: int


Logged = Points | Texts | Attached | Ended
Frame = Opening | Logged | Sent
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


class Spool:
    """An open spool; any thread may append. While it is open no other process can open it."""

    def __init__(self, file: int, path: Path | None) -> None:
        self.path = path
        self._file, self._writing = file, threading.Lock()
        self._size = self.offset = os.fstat(file).st_size
        self.opening = Opening(run="", url="")

    @classmethod
    def create(cls, folder: Path | None, opening: Opening) -> Spool:
        """A new one in `folder`; without a folder that can be written, one that ends with the process."""
        try:
            if folder is None:
                raise FileNotFoundError
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            number, name = tempfile.mkstemp(suffix=SUFFIX, prefix=f"{opening.run}-", dir=folder)
            spool = cls(number, Path(name))
        except OSError:
            number, name = tempfile.mkstemp(suffix=SUFFIX)
            os.unlink(name)
            spool = cls(number, None)
        spool._lock()
        spool.append(opening)
        spool.opening, spool.offset = opening, spool._size
        return spool

    @classmethod
    def open(cls, path: Path) -> Spool:
        """One that another process has left; raises `Conflict` while that process lives, `Invalid` for another file."""
        spool = cls(os.open(path, os.O_RDWR), path)
        try:
            spool._lock()
            spool._recover()
        except BaseException:
            spool.close()
            raise
        return spool

    @property
    def bytes(self) -> int:
        return self._size

    def append(self, frame: Frame) -> None:
        """Write a frame. Raises `Unavailable` when the disk does not take it."""
        body = _encode(frame)
        data = _HEAD.pack(len(body), crc32(body)) + body
        with self._writing:
            try:
                written = os.pwrite(self._file, data, self._size)
            except OSError as error:
                raise Unavailable(f"{self.path} cannot be written: {error.strerror}; is the disk full?") from error
            if written < len(data):
                raise Unavailable(f"{self.path or 'the log'} was not written whole; is the disk full?")
            self._size += len(data)

    def unsent(self, most_bytes: int) -> tuple[list[Logged], int]:
        """The frames from `offset` on, about `most_bytes` of them, and the offset behind them."""
        frames, end = list[Logged](), self.offset
        for frame, behind in self._frames(self.offset, most_bytes):
            if isinstance(frame, Logged):
                frames.append(frame)
            end = behind
        return frames, end

    def sent(self, offset: int) -> None:
        """Note that the server has everything before `offset`."""
        self.offset = offset
        self.append(Sent(offset))

    def sync(self) -> None:
        """Bring it to the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Close, and give up what is in it."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.close()

    def __del__(self) -> None:
        """A run that was never ended leaves its file to `headway sync`."""
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{self.path} belongs to a process that still runs") from error

    def _recover(self) -> None:
        """Find out what it is for, how far the server has got, and where the last whole frame ends."""
        end = 0
        for frame, behind in self._frames(0, self._size):
            if end == 0 and isinstance(frame, Opening):
                self.opening, self.offset = frame, behind
            elif isinstance(frame, Sent):
                self.offset = frame.offset
            end = behind
        if not self.opening.run:
            raise Invalid(f"{self.path} is no log of a run")
        self._size = end

    def _frames(self, start: int, most_bytes: int) -> Iterator[tuple[Frame, int]]:
        """Whole frames from `start` on, each with the offset behind it."""
        with self._writing:
            size = self._size
        data = os.pread(self._file, min(size - start, max(most_bytes, _HEAD.size)), start)
        place = 0
        while place + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, place)
            if length > _LONGEST or start + place + _HEAD.size + length > size:
                return
            body = data[place + _HEAD.size : place + _HEAD.size + length]
            if len(body) < length:
                if place:
                    return
                body = os.pread(self._file, length, start + _HEAD.size)  # one that is longer than was asked
            if crc32(body) != checksum:
                return
            place += _HEAD.size + length
            yield _decode(body), start + place


def left_behind(folder: Path) -> list[Path]:
    """The spools in a folder, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
