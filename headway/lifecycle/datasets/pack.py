"""The pack: many pieces in one blob, so that a hundred thousand small files are a few blobs, each synced once.

    HWPACK1\\n, the pieces one after the other, the index, the index's length in 8 bytes, HWPACKI1

A piece is named by its BLAKE3: a whole small file, a chunk of a large one, or a node of a tree. The index has the
digests and lengths in the order of the pieces. Numbers are big-endian; the index is MessagePack.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, repeat

import msgspec
from blake3 import blake3

from headway.errors import Invalid
from headway.kernel.records import UNREADABLE

HEAD, TAIL = b"HWPACK1\n", b"HWPACKI1"
DIGEST_BYTES = 32
PACK_BYTES = 64 << 20
"""A pack is closed once it is as large."""
MOST_INDEX_BYTES = 64 << 20
FOOT_BYTES = 8 + len(TAIL)


Place = tuple[str, int, int]
"""Where a piece is: the digest of its pack, offset, length. There are many, and plain tuples are made quickest."""


class Index(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    digests: bytes
    lengths: list[int]

    def names(self) -> list[bytes]:
        return [self.digests[at : at + DIGEST_BYTES] for at in range(0, len(self.digests), DIGEST_BYTES)]

    def places(self, pack: str) -> Iterator[tuple[bytes, Place]]:
        offsets = accumulate(self.lengths, initial=len(HEAD))
        return zip(self.names(), zip(repeat(pack), offsets, self.lengths, strict=False), strict=True)


_decode = msgspec.msgpack.Decoder(Index).decode


def index_tail(index: Index) -> bytes:
    """What stands behind the pieces."""
    body = msgspec.msgpack.encode(index)
    return body + len(body).to_bytes(8, "big") + TAIL


def tail_bytes(foot: bytes) -> int:
    """How many bytes stand behind the pieces, as the last `FOOT_BYTES` of a pack say."""
    return int.from_bytes(foot[: -len(TAIL)], "big") + FOOT_BYTES


def read_tail(tail: bytes, size: int) -> Index:
    """The index of a pack of `size` bytes, from the bytes at its end; raises `Invalid` for what is none."""
    if not tail.endswith(TAIL) or tail_bytes(tail[-FOOT_BYTES:]) != len(tail):
        raise Invalid("this blob is no pack, or its index has another length; add the files again")
    try:
        index = _decode(tail[:-FOOT_BYTES])
    except UNREADABLE as error:
        raise Invalid(f"the index of a pack cannot be read: {error}") from error
    if len(index.digests) != DIGEST_BYTES * len(index.lengths) or min(index.lengths, default=0) < 0:
        raise Invalid("the index of a pack does not have a length for each digest")
    if len(HEAD) + sum(index.lengths) + len(tail) != size:
        raise Invalid("the pieces of a pack are not as long as its index says")
    return index


def check_pieces(data: bytes | memoryview, index: Index) -> None:
    """Raises `Invalid` unless every piece has the digest that the index gives it: whoever adds files later relies on
    what is there."""
    if bytes(data[: len(HEAD)]) != HEAD:
        raise Invalid("this blob is no pack; add the files again")
    offset = len(HEAD)
    view = memoryview(data)
    for name, length in zip(index.names(), index.lengths, strict=True):
        if blake3(view[offset : offset + length]).digest() != name:
            raise Invalid(f"a piece of a pack is not {name.hex()}, as its index says; add the files again")
        offset += length
