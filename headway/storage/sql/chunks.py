"""How points are packed: a chunk holds a stretch of one series, column by column.

A chunk begins with one byte. 0: steps, times and values follow as they are, 8 bytes little-endian each. 1: the same,
steps and times as differences from the one before, deflated; on a usual series that takes 9 bytes a point.
"""

from __future__ import annotations

import math
import sys
import zlib
from array import array
from itertools import accumulate
from operator import sub

from headway.lifecycle.runs.curve import Curve, standing_out

FULL = 2048
"""Points of a chunk that is not touched again."""
_PLAIN, _DEFLATED = b"\0", b"\1"
_LEVEL = 1
_BLOCK = 256


def packed(curve: Curve) -> bytes:
    return _PLAIN + _columns(curve.steps, curve.at_us, curve.values)


def deflated(curve: Curve) -> bytes:
    """As `packed`, smaller; raises nothing that `packed` does not."""
    try:
        columns = _columns(_differences(curve.steps), _differences(curve.at_us), curve.values)
    except OverflowError:  # two steps further apart than a number of 64 bits
        return packed(curve)
    return _DEFLATED + zlib.compress(columns, _LEVEL)


def unpacked(body: bytes) -> Curve:
    flag, columns = body[:1], body[1:]
    if flag == _DEFLATED:
        columns = zlib.decompress(columns)
    size = len(columns) // 3
    steps, at_us = _integers(columns[:size]), _integers(columns[size : 2 * size])
    if flag == _DEFLATED:
        steps, at_us = list(accumulate(steps)), list(accumulate(at_us))
    return Curve(steps=steps, at_us=at_us, values=_ours(array("d", columns[2 * size :])).tolist())


def outline(curve: Curve) -> bytes:
    """What a chart needs of a chunk: its ends, and what stands out in each block."""
    places = {0, len(curve) - 1}
    for start in range(0, len(curve), _BLOCK):
        places.update(start + place for place in standing_out(curve.values[start : start + _BLOCK]))
    return packed(curve.at(sorted(places)))


def identities(curve: Curve) -> list[tuple[int, int, int]]:
    """What tells one point from another: step, time and the bits of the value, where NaN is NaN and 0.0 is not -0.0."""
    values = [value if value == value else math.nan for value in curve.values]
    return list(zip(curve.steps, curve.at_us, array("q", array("d", values).tobytes()), strict=True))


def _columns(steps: list[int], at_us: list[int], values: list[float]) -> bytes:
    return b"".join(_ours(column).tobytes() for column in (array("q", steps), array("q", at_us), array("d", values)))


def _integers(data: bytes) -> list[int]:
    return _ours(array("q", data)).tolist()


def _ours(column: array) -> array:  # type: ignore[type-arg]
    """In the byte order of the file, from that of the machine or back."""
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _differences(numbers: list[int]) -> list[int]:
    return [*numbers[:1], *map(sub, numbers[1:], numbers)]
