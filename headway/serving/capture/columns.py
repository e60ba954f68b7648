"""Columns of a segment, by what they hold: Arrow arrays, made without a frame library, which would take a third of a
server's memory. What is missing is None among texts, NaN among doubles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from arro3.core import Array, DataType, list_array
from numpy.typing import NDArray

from headway.lifecycle.models.records import Datatype

Column = Array
INT16, INT32 = DataType.int16(), DataType.int32()
TYPES = {
    Datatype.BOOL: DataType.bool(),
    Datatype.INT32: INT32,
    Datatype.INT64: DataType.int64(),
    Datatype.FP32: DataType.float32(),
    Datatype.FP64: DataType.float64(),
    Datatype.BYTES: DataType.string(),
}
_UTC_US = DataType.timestamp("us", tz="UTC")


def texts(values: Sequence[str | None]) -> Column:
    return Array(values, TYPES[Datatype.BYTES])


def doubles(values: NDArray[np.float64]) -> Column:
    """What is not finite stands as null."""
    return floats(np.where(np.isfinite(values), values, np.nan), Datatype.FP64)


def floats(values: NDArray[Any], datatype: Datatype) -> Column:
    """A float column of this datatype; NaN stands as null."""
    if np.isnan(values).any():
        return Array([None if value != value else value for value in values.tolist()], TYPES[datatype])
    return Array.from_numpy(np.ascontiguousarray(values))


def numbers(values: NDArray[np.int64], kind: DataType) -> Column:
    return Array.from_numpy(values).cast(kind)


def truths(values: NDArray[np.bool_]) -> Column:
    return Array.from_numpy(values)


def moments(micros: NDArray[np.int64]) -> Column:
    """Microseconds since 1970 in UTC."""
    return Array.from_numpy(micros.astype(np.int64)).cast(_UTC_US)


def text_lists(values: Sequence[list[str] | None]) -> Column:
    if values.count(None) == len(values):  # the usual case, which is soon told
        ends = Array.from_numpy(np.zeros(len(values) + 1, np.int32))
        return list_array(ends, texts([]), mask=Array.from_numpy(np.ones(len(values), np.bool_)))
    return _lists(values, texts([text for value in values for text in value or ()]))


def double_lists(values: Sequence[list[float] | None]) -> Column:
    inner = np.fromiter((number for value in values for number in value or ()), np.float64)
    return _lists(values, Array.from_numpy(inner))


def _lists(values: Sequence[list[Any] | None], inner: Column) -> Column:
    """`inner` holds the elements of all of them."""
    sizes = np.fromiter((len(value or ()) for value in values), np.int32, len(values))
    ends = np.concatenate([np.zeros(1, np.int32), np.cumsum(sizes, dtype=np.int32)])
    missing = np.fromiter((value is None for value in values), np.bool_, len(values))
    return list_array(Array.from_numpy(ends), inner, mask=Array.from_numpy(missing))


def elements(values: Sequence[Any], datatype: Datatype) -> Column:
    """Of a feature, None where it is missing."""
    return Array(values, TYPES[datatype])


def repeated(values: list[Any], times: NDArray[np.int64]) -> list[Any]:
    if times.max() == 1:
        return values
    return [value for value, count in zip(values, times.tolist(), strict=True) for _ in range(count)]
