"""Which rows of a table are those of parts that are kept already."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import polars as pl
from numpy.typing import NDArray

from headway.engines.tables.frames import read_table
from headway.engines.tables.questions import MOST_ANSWER_BYTES
from headway.lifecycle.datasets.inspector import Shared

_FOOTER = {"ARROW:schema", "pandas"}
"""What a footer may say beside the columns: how other libraries name their types, of which a reading keeps nothing."""
_PLAIN = (
    pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.Decimal, pl.Enum, pl.Null,
)  # fmt: skip


def shared(parts: Sequence[bytes], data: bytes) -> Shared:
    """How many of `parts`, from the first, hold the rows with which the table in `data` begins, and the rest of them
    as Parquet.

    Types, nulls and values must be the same, floats to the bit. Nothing is shared of a table whose footer holds
    something of its own, which parts would lose, nor of one too large to be put together again for one answer.
    """
    if pl.read_parquet_metadata(io.BytesIO(data)).keys() - _FOOTER:
        return Shared()
    frame = read_table(data)
    if frame.estimated_size() > MOST_ANSWER_BYTES:
        return Shared()
    count, rows = 0, 0
    for part in map(read_table, parts):
        if rows + part.height > frame.height or not same_rows(part, frame.slice(rows, part.height)):
            break
        count, rows = count + 1, rows + part.height
    rest = frame.slice(rows)
    if not count or rest.is_empty():
        return Shared(parts=count)
    buffer = io.BytesIO()
    rest.write_parquet(buffer)
    kept = buffer.getvalue()
    if not same_rows(read_table(kept), rest):  # a type that is written as another
        return Shared()
    return Shared(parts=count, rest=kept, rest_rows=rest.height)


def same_rows(first: pl.DataFrame, second: pl.DataFrame) -> bool:
    """Whether both have the same columns in the same order, of the same types, and the same rows."""
    return first.schema == second.schema and all(map(_same, first, second))


def _same(first: pl.Series, second: pl.Series) -> bool:
    """Values of one type. A type that is not known here is never the same: that costs space and nothing else."""
    dtype = first.dtype
    if len(first) != len(second) or not first.is_null().equals(second.is_null()):
        return False
    if dtype.is_float():  # `equals` takes 0.0 for -0.0, and one NaN for another
        bits = [_bits(each) for each in (first, second)]
        return bool((bits[0] == bits[1]).all())
    if isinstance(dtype, pl.List | pl.Array):
        lengths = [each.list.len() if isinstance(dtype, pl.List) else each.is_null() for each in (first, second)]
        return lengths[0].equals(lengths[1], null_equal=True) and _same(first.explode(), second.explode())
    if isinstance(dtype, pl.Struct):
        return all(_same(first.struct.field(each.name), second.struct.field(each.name)) for each in dtype.fields)
    if dtype == pl.Categorical:  # numbered anew in every file
        return first.cast(pl.String).equals(second.cast(pl.String), null_equal=True)
    return (dtype.is_integer() or dtype in _PLAIN) and first.equals(second, null_equal=True)


def _bits(floats: pl.Series) -> NDArray[Any]:
    values = floats.fill_null(0.0).to_numpy()
    return values.view(f"u{values.itemsize}")
