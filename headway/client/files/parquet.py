"""Where the row groups of a Parquet file end, by its footer: so that a file that is written again with the same row
groups shares their bytes. What is found only says where to cut, so a footer that lies does no harm.

The footer is a Thrift structure in the compact protocol, of which this reads any:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and `parquet.thrift` in
https://github.com/apache/parquet-format
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

_MAGIC = b"PAR1"
_FOOT_BYTES = 8
_MOST_FOOTER_BYTES = 16 << 20
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_NUMBERS = (4, 5, 6)
_MOST_BITS = 63
_ROW_GROUPS, _COLUMNS, _COLUMN = 4, 1, 3
"""Fields of `FileMetaData`, of `RowGroup` and of `ColumnChunk`."""
_COMPRESSED_SIZE, _DATA_PAGE, _DICTIONARY_PAGE = 7, 9, 11
"""Fields of `ColumnMetaData`."""


def row_group_cuts(handle: int, size: int) -> list[int]:
    """Where the first row group begins, where each ends, and where the footer begins, in order; none for what is no
    Parquet file."""
    if size < 2 * _FOOT_BYTES or os.pread(handle, len(_MAGIC), 0) != _MAGIC:
        return []
    foot = os.pread(handle, _FOOT_BYTES, size - _FOOT_BYTES)
    length = int.from_bytes(foot[:4], "little")
    start = size - _FOOT_BYTES - length
    if foot[4:] != _MAGIC or length > _MOST_FOOTER_BYTES or start < len(_MAGIC):
        return []
    try:
        groups = _Compact(os.pread(handle, length, start)).struct().get(_ROW_GROUPS, [])
        ends = {max(_ends(group)) for group in groups}
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError, struct.error):
        return []
    return sorted({end for end in ends if 0 < end < start} | {len(_MAGIC), start})


def _ends(group: dict[int, Any]) -> Iterator[int]:
    """Where the pages of each column end."""
    for chunk in group[_COLUMNS]:
        column = chunk[_COLUMN]
        first = column[_DATA_PAGE]
        dictionary = column.get(_DICTIONARY_PAGE, 0)
        yield (min(first, dictionary) if dictionary > 0 else first) + column[_COMPRESSED_SIZE]


class _Compact:
    """Values of the compact protocol, one behind the other; structures are dicts by the numbers of their fields."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            field = field + step if step else self._number()
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in _NUMBERS:
            return self._number()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct()
        if kind in (_LIST, _SET):
            head = self._byte()
            return self._values(head & 15, head >> 4 if head >> 4 < 15 else self._varint())
        if kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(count)]
        if kind in (_BYTE, _TRUE, _FALSE):
            return self._byte()
        if kind == _DOUBLE:
            return struct.unpack("<d", self._bytes(8))[0]
        raise ValueError(f"the compact protocol has no type {kind}")

    def _values(self, kind: int, count: int) -> list[Any]:
        return [self._value(kind) for _ in range(count)]

    def _number(self) -> int:
        found = self._varint()
        return found >> 1 ^ -(found & 1)

    def _varint(self) -> int:
        found = shift = 0
        while (byte := self._byte()) > 127:
            found |= (byte & 127) << shift
            shift += 7
            if shift > _MOST_BITS:
                raise ValueError("a number of the footer is too long")
        return found | byte << shift

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        self._at += count
        if self._at > len(self._data):
            raise IndexError("the footer ends amid a value")
        return self._data[self._at - count : self._at]
