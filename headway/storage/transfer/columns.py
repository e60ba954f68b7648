"""Rows of a table as a file: Parquet where polars is installed, else JSON lines. Both are read back by either."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from typing import IO, Any, NamedTuple

import msgspec

from headway.errors import ExtraMissing, Invalid
from headway.kernel.clock import from_us, to_us
from headway.kernel.records import UNREADABLE, encode
from headway.storage.sql.portable import PlainColumn

MOST_ROWS = 1_000_000
"""In one file of Parquet."""
LARGE = ("predictions", "labels", "metric_points")
Row = Sequence[Any]


class Part(NamedTuple):
    """A file of a table, and how many rows it holds: as many as there are chunks, if `rows` is None."""

    name: str
    chunks: Iterable[bytes]
    rows: int | None = None


def has_parquet() -> bool:
    return find_spec("polars") is not None


def parts(table: str, columns: Sequence[PlainColumn], pages: Iterable[list[Row]], *, parquet: bool) -> Iterator[Part]:
    """The table's files; none for a table without rows."""
    if not (parquet and table in LARGE):
        every = iter(pages)
        if (first := next(every, None)) is not None:
            lines = (line for page in chain([first], every) for line in _lines(columns, page))
            yield Part(f"tables/{table}.jsonl", lines)
        return
    waiting: list[Row] = []
    number = 0
    for page in pages:
        waiting += page
        while len(waiting) >= MOST_ROWS:
            yield _parquet_part(table, number, columns, waiting[:MOST_ROWS])
            waiting, number = waiting[MOST_ROWS:], number + 1
    if waiting:
        yield _parquet_part(table, number, columns, waiting)


def _parquet_part(table: str, number: int, columns: Sequence[PlainColumn], rows: list[Row]) -> Part:
    import polars  # noqa: PLC0415

    kinds: dict[str, Any] = {
        "text": polars.String, "integer": polars.Int64, "real": polars.Float64, "json": polars.Binary,
        "time": polars.Datetime("us", "UTC"),
    }  # fmt: skip
    by_column = list(zip(*rows, strict=True))
    series = [
        polars.Series(column.name, values, dtype=polars.Int64 if column.kind == "time" else kinds[column.kind])
        for column, values in zip(columns, by_column, strict=True)
    ]
    frame = polars.DataFrame(series).cast({c.name: kinds["time"] for c in columns if c.kind == "time"})
    buffer = BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    return Part(f"tables/{table}/{number:05}.parquet", [buffer.getvalue()], len(rows))


def _lines(columns: Sequence[PlainColumn], rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        yield encode({c.name: _written(c.kind, value) for c, value in zip(columns, row, strict=True)}) + b"\n"


def _written(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "json":
        return msgspec.Raw(value)
    if kind == "time":
        return from_us(value)
    return repr(value) if kind == "real" and not math.isfinite(value) else value


def read_rows(name: str, columns: Sequence[PlainColumn], opened: IO[bytes]) -> Iterator[Row]:
    """The rows of a file; raises `Invalid` when its columns are others."""
    return _read_parquet(name, columns, opened) if name.endswith(".parquet") else _read_lines(name, columns, opened)


def _read_parquet(name: str, columns: Sequence[PlainColumn], opened: IO[bytes]) -> Iterator[Row]:
    if not has_parquet():
        raise ExtraMissing(f"{name} is Parquet, which needs polars: pip install 'headway[ml]'")
    import polars  # noqa: PLC0415

    frame = polars.read_parquet(BytesIO(opened.read()))
    if frame.columns != [column.name for column in columns]:
        raise Invalid(f"{name} has the columns {', '.join(frame.columns)}, which is another version's table")
    frame = frame.cast({column.name: polars.Int64 for column in columns if column.kind == "time"})
    yield from frame.iter_rows()


def _read_lines(name: str, columns: Sequence[PlainColumn], opened: IO[bytes]) -> Iterator[Row]:
    kinds: dict[str, Any] = {
        "text": str | None, "integer": int | None, "real": float | str | None, "json": msgspec.Raw, "time": Any,
    }  # fmt: skip
    fields = [(column.name, kinds[column.kind]) for column in columns]
    decoder = msgspec.json.Decoder(msgspec.defstruct("Row", fields, forbid_unknown_fields=True))
    for line in opened:
        try:
            row = decoder.decode(line)
        except UNREADABLE as error:
            raise Invalid(f"{name} has a row that is another version's: {error}") from error
        yield tuple(_read(column.kind, getattr(row, column.name)) for column in columns)


def _read(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "json":
        return bytes(value)
    if kind == "time":
        return to_us(msgspec.convert(value, type=datetime))
    return float(value) if kind == "real" else value
