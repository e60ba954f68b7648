"""Frames as bytes and back: polars and pandas as Parquet, Arrow's own tables as Arrow IPC, which is mapped from its
file instead of being read. polars frames go by that way too where it is worth it, or a step asks for it. Parquet in a
file is decoded from there, so that the frame is in memory and not the bytes beside it."""

from __future__ import annotations

import io
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headway.engines.pipelines.libraries import needed
from headway.errors import BadPipeline

_LARGE_BYTES = 64 * 2**20
_SAMPLE_BYTES = 8 * 2**20


def is_worth_mapping(frame: Any) -> bool:
    """Whether a polars frame is large, and takes at most about twice the room if it lies on the disk as it is used, by
    what its first rows say."""
    size = frame.estimated_size()
    if size < _LARGE_BYTES or find_spec("pyarrow") is None:
        return False
    sample = frame.head(max(1, frame.height * _SAMPLE_BYTES // size))
    return 2 * len(polars_to_parquet(sample)) >= len(polars_to_arrow(sample))


def polars_to_parquet(frame: Any) -> bytes:
    _check_columns(frame)
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, row_group_size=250_000)  # fixed: the default depends on the machine
    return buffer.getvalue()


def polars_from_parquet(data: bytes) -> Any:
    import polars  # noqa: PLC0415

    return polars.read_parquet(io.BytesIO(data))


def polars_from_parquet_file(path: Path) -> Any:
    import polars  # noqa: PLC0415

    return polars.read_parquet(path)


def polars_to_arrow(frame: Any) -> bytes:
    """Not compressed, and in one piece, so that it can be used as it lies on the disk."""
    _check_columns(frame)
    buffer = io.BytesIO()
    frame.rechunk().write_ipc(buffer, compression="uncompressed", record_batch_size=max(1, frame.height))
    return buffer.getvalue()


def polars_from_arrow(data: bytes) -> Any:
    import polars  # noqa: PLC0415

    return polars.read_ipc(io.BytesIO(data))


def polars_from_arrow_file(path: Path) -> Any:
    """As it lies in the file where pyarrow is installed: polars itself copies what it reads."""
    import polars  # noqa: PLC0415

    if find_spec("pyarrow") is None:
        return polars.read_ipc(path)
    return polars.from_arrow(table_from_arrow_file(path), rechunk=False)


def _check_columns(frame: Any) -> None:
    import polars  # noqa: PLC0415

    objects = [name for name, kind in frame.schema.items() if kind == polars.Object]
    if objects:
        raise BadPipeline(f"column {objects[0]!r} holds Python objects; cast it to a type of its own")


def pandas_to_parquet(frame: Any) -> bytes:
    """With its index, and with the types of its columns as pandas notes them; raises `BadPipeline` for a frame that
    would not come back as it is."""
    _pyarrow("pyarrow", "a pandas DataFrame")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow")
    data = buffer.getvalue()
    same: Any = import_module("pandas.testing").assert_frame_equal
    try:
        same(frame, pandas_from_parquet(data), check_freq=False)
    except AssertionError:
        raise BadPipeline(
            "this pandas DataFrame is not the same after Parquet, such as by a column of Python objects; "
            "cast its columns"
        ) from None
    return data


def pandas_from_parquet(data: bytes) -> Any:
    return import_module("pandas").read_parquet(io.BytesIO(data), engine="pyarrow")


def pandas_from_parquet_file(path: Path) -> Any:
    return import_module("pandas").read_parquet(path, engine="pyarrow", memory_map=True)


def table_to_arrow(table: Any) -> bytes:
    arrow, ipc = _pyarrow("pyarrow", "an Arrow table"), _pyarrow("pyarrow.ipc", "an Arrow table")
    sink = arrow.BufferOutputStream()
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def table_from_arrow(data: bytes) -> Any:
    return _pyarrow("pyarrow.ipc", "an Arrow table").open_file(data).read_all()


def table_from_arrow_file(path: Path) -> Any:
    source = _pyarrow("pyarrow", "an Arrow table").memory_map(str(path), "r")
    return _pyarrow("pyarrow.ipc", "an Arrow table").open_file(source).read_all()


def lazy_to_parquet(frame: Any) -> bytes:
    """What the query gives."""
    return polars_to_parquet(frame.collect())


def lazy_from_parquet(data: bytes) -> Any:
    return polars_from_parquet(data).lazy()


def duckdb_to_arrow(relation: Any) -> bytes:
    """What the query gives, in the order in which it gives it."""
    return table_to_arrow(_pyarrow("pyarrow", "a DuckDB relation").table(relation))


def duckdb_from_arrow(data: bytes) -> Any:
    return import_module("duckdb").from_arrow(table_from_arrow(data))


def duckdb_from_arrow_file(path: Path) -> Any:
    return import_module("duckdb").from_arrow(table_from_arrow_file(path))


def _pyarrow(name: str, what: str) -> Any:
    return needed(name, f"storing {what} takes pyarrow", "arrow")
