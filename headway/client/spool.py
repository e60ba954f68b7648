"""What a run logs, on the disk of the machine that runs it, until the server has it.

A spool is one append-only file: frames of length, CRC-32 and MessagePack. Each logging call writes its frame before
it returns, so that killing the process loses nothing; the disk itself is synced in the background. A frame that was
cut short ends the file, and so do zeros. How far the server has got is written into the same file, as a frame of its
own.

What costs a training loop here is that its own data have driven this code out of the processor's caches: so a call
does little. The end of the file is mapped into memory, a piece at a time, instead of a system call for each frame;
and metrics that were logged together before are a row, one `pack_into` with a seal of its own in place of MessagePack
and CRC. A row is shorter than a page: what a loss of power may lose of it is its head or its end, and both say where
they stand.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from mmap import ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from headway.errors import Conflict, Invalid, Unavailable

SUFFIX = ".spool"
_HEAD = struct.Struct("<II")
_LONGEST = 64 * 1024 * 1024
_PIECE_BYTES = 1 << 20
_ROW = 1 << 31
"""In place of a length: the rest is that of a row."""
_MOST_IN_ROW, _MOST_KEYS = 100, 1000
_SEAL = 0x5EA1ED00


class Opening(msgspec.Struct, frozen=True, tag="opening"):
    """The first frame: whose log this is, and the server that it is for."""

    run: str
    url: str


class Points(msgspec.Struct, frozen=True, tag="points"):
    """One value each of some metrics, at one step and time."""

    step: int
    at_us: int
    values: dict[str, float]


class Keys(msgspec.Struct, frozen=True, tag="keys"):
    """The names of what is in the rows of this number."""

    number: int
    keys: tuple[str, ...]


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
Frame = Opening | Logged | Keys | Sent
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


class Spool:
    """An open spool; any thread may append. While it is open no other process can open it."""

    def __init__(self, file: int, path: Path | None) -> None:
        self.path = path
        self._file, self._writing, self._naming = file, threading.Lock(), threading.Lock()
        self._size = self.offset = os.fstat(file).st_size
        self._piece, self._piece_from, self._piece_to = mmap(-1, _HEAD.size), 0, 0
        self.opening = Opening(run="", url="")
        self._rows: dict[tuple[str, ...], _Row] = {}
        self._numbered: dict[int, _Row] = {}

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
        with self._writing:
            start = self._size
            end = start + _HEAD.size + len(body)
            if end > self._piece_to:
                self._next_piece(start, end)
            place = start - self._piece_from
            self._piece[place + _HEAD.size : end - self._piece_from] = body
            _HEAD.pack_into(self._piece, place, len(body), crc32(body))
            self._size = end

    def append_row(self, step: int, at_us: int, values: Mapping[str, float]) -> None:
        """As `append`, of `Points`. Raises `Unavailable` when the disk does not take it, `struct.error` for a value
        that is no number or a step that does not fit in 64 bits."""
        row = self._rows.get(tuple(values))
        if row is None:
            row = self._known(tuple(values))
            if row is None:
                self.append(Points(step, at_us, {key: float(value) for key, value in values.items()}))
                return
        with self._writing:
            start = self._size
            end = start + row.length
            if end > self._piece_to:
                self._next_piece(start, end)
            seal = (_SEAL ^ start) & 0xFFFFFFFF
            row.pack_into(
                self._piece, start - self._piece_from, row.head, row.number, step, at_us, *values.values(), seal
            )
            self._size = end

    def _known(self, keys: tuple[str, ...]) -> _Row | None:
        """The form of rows with these keys; None when there are too many."""
        if not 0 < len(keys) <= _MOST_IN_ROW or len(self._rows) >= _MOST_KEYS:
            return None
        if not all(isinstance(key, str) for key in keys):
            raise Invalid("the name of a metric is a text")
        with self._naming:
            if keys not in self._rows:
                number = len(self._rows)
                self.append(Keys(number, keys))
                self._numbered[number] = self._rows[keys] = _Row.of(number, keys)
            return self._rows[keys]

    def _next_piece(self, start: int, end: int) -> None:
        """Map what comes next, on disk space that is there: a page without any would end the process."""
        first = start - start % ALLOCATIONGRANULARITY
        length = max(_PIECE_BYTES, end - first)
        try:
            _allocate(self._file, start, first + length)
            piece = mmap(self._file, length, offset=first)
        except OSError as error:
            raise Unavailable(
                f"{self.path or 'the log'} cannot be written: {error.strerror}; is the disk full?"
            ) from error
        self._piece.close()
        self._piece, self._piece_from, self._piece_to = piece, first, first + length

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
        if self._file < 0:
            return
        with self._writing:
            self._piece.close()
            self._piece_to = 0
            if os.fstat(self._file).st_size > self._size:
                os.ftruncate(self._file, self._size)
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
            elif isinstance(frame, Keys):
                self._rows[frame.keys] = self._numbered[frame.number]
            end = behind
        if not self.opening.run:
            raise Invalid(f"{self.path} is no log of a run")
        self._size = end
        os.ftruncate(self._file, end)  # behind it are only zeros, or what no frame was made of

    def _frames(self, start: int, most_bytes: int) -> Iterator[tuple[Frame, int]]:
        """Whole frames from `start` on, each with the offset behind it."""
        with self._writing:
            size = self._size
        data = os.pread(self._file, min(size - start, max(most_bytes, _HEAD.size)), start)
        place = 0
        while place + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, place)
            if length & _ROW:
                row = _row_at(self._numbered.get(checksum), length & ~_ROW, data, place, start + place)
                if row is None:
                    return
                place += length & ~_ROW
                yield row, start + place
                continue
            if not 0 < length <= _LONGEST or start + place + _HEAD.size + length > size:
                return
            body = data[place + _HEAD.size : place + _HEAD.size + length]
            if len(body) < length:
                if place:
                    return
                body = os.pread(self._file, length, start + _HEAD.size)  # one that is longer than was asked
            if crc32(body) != checksum:
                return
            place += _HEAD.size + length
            frame = _decode(body)
            if isinstance(frame, Keys) and frame.number not in self._numbered:  # of the rows that follow
                self._numbered[frame.number] = _Row.of(frame.number, frame.keys)
            yield frame, start + place


class _Row(NamedTuple):
    """How rows with some keys are written."""

    keys: tuple[str, ...]
    number: int
    head: int
    length: int
    pack_into: Callable[..., None]
    unpack_from: Callable[..., tuple[Any, ...]]

    @classmethod
    def of(cls, number: int, keys: tuple[str, ...]) -> _Row:
        form = struct.Struct(f"<IIqq{len(keys)}dI")
        return cls(keys, number, form.size | _ROW, form.size, form.pack_into, form.unpack_from)


def _row_at(form: _Row | None, length: int, data: bytes, place: int, offset: int) -> Points | None:
    """The row at `place` of `data`, which is `offset` in the file; None for one that is not whole."""
    if form is None or form.length != length or place + length > len(data):
        return None
    _, _, step, at_us, *values, seal = form.unpack_from(data, place)
    if seal != (_SEAL ^ offset) & 0xFFFFFFFF:
        return None
    return Points(step, at_us, dict(zip(form.keys, values, strict=True)))


def _allocate(file: int, start: int, end: int) -> None:
    """Take the disk space for the bytes from `start` on, which then are zeros."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, end - start)
    else:
        os.pwrite(file, bytes(end - start), start)


def left_behind(folder: Path) -> list[Path]:
    """The spools in a folder, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
