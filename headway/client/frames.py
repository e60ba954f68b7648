"""Tables on their way to and from a server, which takes and gives Parquet. polars is loaded when a table comes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headway.errors import ExtraMissing, Invalid
from headway.kernel.naming import nearest

if TYPE_CHECKING:
    import polars

LIBRARIES = ("polars", "pandas", "pyarrow", "duckdb")
_PARQUET = b"PAR1"


def parquet_of(table: Any) -> bytes:
    """`table` as Parquet: a polars or pandas frame, whatever speaks Arrow, a dict of columns, or a path to CSV or
    Parquet.

    Raises `Invalid` for anything else, and for a file that is missing or cannot be read.
    """
    if isinstance(table, str | Path):
        return _file(Path(table))
    buffer = BytesIO()
    _frame(table).write_parquet(buffer)
    return buffer.getvalue()


def frame_of(parquet: bytes) -> polars.DataFrame:
    frame: polars.DataFrame = _polars().read_parquet(BytesIO(parquet))
    return frame


def polars_of(table: Any) -> polars.DataFrame:
    """`table`, anything that `parquet_of` takes but a path, as a polars frame; raises `Invalid` for anything else."""
    return _frame(table)


def like(table: Any, frame: polars.DataFrame) -> Any:
    """`frame` as what `table` is: a frame of pandas, pyarrow or DuckDB, a lazy one of polars, or an eager one where it
    is none of these."""
    if type(table).__name__ == "LazyFrame":
        return frame.lazy()
    library = type(table).__module__.partition(".")[0].lstrip("_")
    return frame_as(frame, library if library in LIBRARIES else "polars")


def frame_as(frame: polars.DataFrame, library: str) -> Any:
    """`frame` as one of `LIBRARIES`: a DataFrame, a `pyarrow.Table`, a DuckDB relation.

    Raises `Invalid` for another name, `ExtraMissing` where a package is not installed that this takes.
    """
    try:
        match library:
            case "polars":
                return frame
            case "pandas":
                return frame.to_pandas()
            case "pyarrow":
                return frame.to_arrow()
            case "duckdb":
                return import_module("duckdb").from_arrow(frame.to_arrow())
    except ImportError as error:
        raise ExtraMissing(f"a frame of {library} needs one more package: pip install {error.name}") from None
    raise Invalid(f"{library!r} is none of {', '.join(LIBRARIES)}{nearest(library, LIBRARIES)}")


def joined(parts: Sequence[bytes]) -> polars.DataFrame:
    """The rows of all parts, in order."""
    frame: polars.DataFrame = _polars().concat([frame_of(part) for part in parts], how="vertical_relaxed")
    return frame


def _file(path: Path) -> bytes:
    if path.is_dir():
        raise Invalid(f"{path} is a folder, not a table; `client.datasets.add_files` adds its files")
    if not path.is_file():
        raise Invalid(f"there is no file {path}; give a path to a CSV or Parquet file")
    data = path.read_bytes()
    if data.startswith(_PARQUET):
        return data
    if path.suffix.lower() not in (".csv", ".txt", ".tsv"):
        raise Invalid(f"{path} is neither CSV nor Parquet; convert it first")
    try:
        frame = _polars().read_csv(
            data, separator="\t" if path.suffix.lower() == ".tsv" else ",", try_parse_dates=True,
            infer_schema_length=None,
        )  # fmt: skip
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Invalid(f"{path} cannot be read as CSV: {reason}") from None
    return parquet_of(frame)


def _frame(table: Any) -> polars.DataFrame:
    pl = _polars()
    try:
        eager = _eager(table)
        if isinstance(eager, Mapping):
            return cast("polars.DataFrame", pl.DataFrame(dict(eager)))
        if hasattr(eager, "__arrow_c_stream__"):
            return cast("polars.DataFrame", pl.DataFrame(eager))
    except ImportError as error:
        raise ExtraMissing(f"this frame needs one more package to be read: {error}") from None
    except Exception as error:
        raise Invalid(f"this {type(table).__name__} makes no table: {error}") from None
    raise Invalid(
        f"a {type(table).__name__} is no table; hand over a frame of polars, pandas, pyarrow or DuckDB, a dict of "
        "columns, or a path to CSV or Parquet"
    )


def _eager(table: Any) -> Any:
    """A frame that is still a query, computed; one of narwhals as what it wraps; one of pandas with the levels of its
    index that have names as columns, which Arrow would leave out."""
    match type(table).__module__.partition(".")[0], type(table).__name__:
        case "narwhals", _:
            return _eager(table.to_native())
        case "polars", "LazyFrame":
            return table.collect()
        case "pandas", "DataFrame" if named := [name for name in table.index.names if name is not None]:
            return table.reset_index(level=named)
    return table


def _polars() -> Any:
    try:
        import polars  # noqa: PLC0415
    except ImportError:
        raise ExtraMissing("tables need polars: pip install 'headway[ml]'") from None
    return polars
