"""A request's table as the JSON that asks the same: `{"inputs": {column: [value, ...]}}`."""

from __future__ import annotations

import io

import msgspec
import polars as pl

from headway.engines.tables.frames import read_table
from headway.errors import Invalid, TooLarge, first_line

MOST_CELLS = 2_000_000
"""Of a table before anything of it is read: a few bytes of Parquet can stand for billions of rows."""
_PLAIN = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)


def request_body(data: bytes, most_bytes: int) -> bytes:
    """Numbers, texts, true and false, and lists of numbers; columns of other kinds are left out, and what is missing
    or not a number is null.

    Raises `Invalid` for what is no Parquet, for a table without rows and for infinities, which JSON does not have;
    `TooLarge` for more than `MOST_CELLS` or for JSON of more than `most_bytes`.
    """
    rows, columns = _size(data)
    if not rows:
        raise Invalid("there are no rows to score")
    if rows * columns > MOST_CELLS:
        raise TooLarge(f"the table has {rows:,} rows of {columns:,} columns; send {MOST_CELLS:,} cells at most")
    found = {}
    for column in read_table(data):
        if not _fits(column.dtype):
            continue
        if column.dtype.is_float():
            column = column.fill_nan(None)
            if column.is_infinite().any():
                raise Invalid(f"column {column.name[:100]!r} holds an infinity, which no request can")
        elif column.dtype.is_decimal():
            column = column.cast(pl.Float64)
        found[column.name] = column.to_list()
    body = msgspec.json.encode({"inputs": found})
    if len(body) > most_bytes:
        raise TooLarge(f"the table is {len(body):,} bytes of JSON, more than {most_bytes:,}; send fewer rows")
    return body


def _size(data: bytes) -> tuple[int, int]:
    """Rows and columns, by the footer alone."""
    if len(data) < 12:
        raise Invalid("this is no Parquet file; save the table as Parquet and send that")
    try:
        rows = pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item()
        return int(rows), len(pl.read_parquet_schema(io.BytesIO(data)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise Invalid(
            f"this Parquet file cannot be read ({first_line(error)}); write it again and send that"
        ) from error


def _fits(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return dtype.inner.is_numeric()
    return dtype.is_numeric() or dtype in _PLAIN
