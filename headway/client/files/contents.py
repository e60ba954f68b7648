"""Reading files whole or in chunks, and noticing when they change meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from blake3 import blake3

from headway.client.files.parquet import row_group_cuts
from headway.client.files.scanning import Found, found_of
from headway.errors import Conflict, ExtraMissing, Invalid

CHUNKED_ABOVE = 1 << 20
"""A file of more bytes is cut into chunks; a smaller one is one piece."""
SMALLEST_CHUNK, USUAL_CHUNK, LARGEST_CHUNK = 64 << 10, 128 << 10, 1 << 20
"""FastCDC 2020 as pyfastcdc has it: `min_size`, `avg_size`, `max_size`."""
_ATTEMPTS = 3

Chunk = tuple[bytes, int]
Got = TypeVar("Got")
Take = Callable[[bytes, "bytes | memoryview"], None]
"""Is given the digest and the bytes of a piece."""


def whole(root: str, expected: Found) -> tuple[Found, bytes]:
    """A file's bytes, and what is known of it: nothing changed between that and the end of reading.

    Raises `Conflict` for a file that changes again and again, `Invalid` for one that cannot be read.
    """
    return _steadily(root, expected, _bytes_of)


def chunked(root: str, expected: Found, take: Take) -> tuple[Found, bytes, list[Chunk]]:
    """What is known of a file, its digest and its chunks, each of which is given to `take` on the way. A Parquet file
    is cut where its row groups end, too."""

    def read(handle: int, size: int) -> tuple[int, tuple[bytes, list[Chunk]]]:
        stream, chunks = _Hashed(handle), list[Chunk]()
        for end in _cuts(row_group_cuts(handle, size)):
            group = _Until(stream, end)
            chunks += _chunks(group, take) if end - stream.size > LARGEST_CHUNK else _one_chunk(group, take)
        chunks += _chunks(stream, take)
        return stream.size, (stream.hasher.digest(), chunks)

    told, (digest, chunks) = _steadily(root, expected, read)
    return told, digest, chunks


def digest_of_file(root: str, expected: Found) -> tuple[Found, bytes]:
    """What is known of a file, and its digest."""
    return _steadily(root, expected, _digest_of)


def _bytes_of(handle: int, size: int) -> tuple[int, bytes]:
    data = os.read(handle, size + 1)
    while data and len(data) < size and (more := os.read(handle, size + 1 - len(data))):
        data += more
    return len(data), data


def _digest_of(handle: int, size: int) -> tuple[int, bytes]:
    stream, room = _Hashed(handle), memoryview(bytearray(min(LARGEST_CHUNK, size + 1)))
    while stream.readinto(room):
        pass
    return stream.size, stream.hasher.digest()


def _steadily(root: str, expected: Found, read: Callable[[int, int], tuple[int, Got]]) -> tuple[Found, Got]:
    """What `read` makes of a file that stays as it is meanwhile: from its handle and the size that is expected of it,
    the size that was read and what is wanted."""
    for _ in range(_ATTEMPTS):
        handle = _open(root, expected.path)
        try:
            size, got = read(handle, expected.size)
            told = _told(handle, expected)
        except OSError as error:
            raise Invalid(f"{expected.path!r:.300} cannot be read: {error.strerror}") from None
        finally:
            os.close(handle)
        if told == expected and size == expected.size:
            return told, got
        expected = told
    raise _changing(expected.path)


class _Hashed:
    """Reads a file and hashes it on the way. It is not mapped: one that is cut short would end the process."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.hasher, self.size = blake3(max_threads=blake3.AUTO), 0

    def readinto(self, room: memoryview) -> int:
        count = os.readv(self._handle, [room])
        self.hasher.update(room[:count])
        self.size += count
        return count


class _Until:
    """A stream up to the offset `end`."""

    def __init__(self, stream: _Hashed, end: int) -> None:
        self._stream, self._end = stream, end

    @property
    def left(self) -> int:
        return self._end - self._stream.size

    def readinto(self, room: memoryview) -> int:
        return self._stream.readinto(room[: self.left])


def _cuts(wanted: list[int]) -> Iterator[int]:
    """Of these, the first and the last, and those between that make no chunk too small. Which they are depends on those
    before alone: more row groups behind change no cut."""
    last = 0
    for cut in wanted:
        if cut - last >= SMALLEST_CHUNK or cut in (wanted[0], wanted[-1]):
            yield cut
            last = cut


def _one_chunk(stream: _Until, take: Take) -> Iterator[Chunk]:
    room = memoryview(bytearray(stream.left))
    filled = 0
    while stream.left and (count := stream.readinto(room[filled:])):
        filled += count
    if filled:
        name = blake3(room[:filled]).digest()
        take(name, room[:filled])
        yield name, filled


def _chunks(stream: _Hashed | _Until, take: Take) -> Iterator[Chunk]:
    for chunk in _cutter().cut_stream(stream):
        name = blake3(chunk.data).digest()
        take(name, chunk.data)
        yield name, chunk.length


def _cutter() -> Any:
    try:
        from pyfastcdc import FastCDC  # noqa: PLC0415
    except ImportError:
        raise ExtraMissing(
            "files of more than 1 MiB are cut by their content, which needs pyfastcdc: pip install 'headway[ml]'"
        ) from None
    return FastCDC(USUAL_CHUNK, min_size=SMALLEST_CHUNK, max_size=LARGEST_CHUNK)


def _open(root: str, path: str) -> int:
    try:
        return os.open(f"{root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Conflict(f"{path!r:.300} went away while the folder was read; add it again when it is quiet") from None
    except OSError as error:
        raise Invalid(
            f"{path!r:.300} cannot be read: {error.strerror}; mend that, or leave it out: --exclude"
        ) from None


def _told(handle: int, expected: Found) -> Found:
    told = os.fstat(handle)
    if not stat.S_ISREG(told.st_mode):
        raise _changing(expected.path)
    return found_of(expected.path, told)


def _changing(path: str) -> Conflict:
    return Conflict(f"{path!r:.300} changes while it is read; add it when nothing writes to it")
