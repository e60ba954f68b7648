"""Delta Lake tables as the source and the sink of dataset versions. What reads and writes them is loaded when one comes
by; it needs the extra `[delta]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.errors import AlreadyExists, ExtraMissing, Invalid, first_line

if TYPE_CHECKING:
    import polars

_LOG = "_delta_log"


def is_delta(path: Path) -> bool:
    """Whether a folder is a Delta Lake table."""
    return (path / _LOG).is_dir()


def read_delta(path: Path, version: int | None = None) -> tuple[polars.DataFrame, str]:
    """The table at one of its versions, the newest if left out, and where it came from: `delta:ID@VERSION`.

    Raises `Invalid` for a folder that is no such table, or has no such version.
    """
    deltalake = _deltalake()
    if not is_delta(path):
        raise Invalid(f"{path} is no Delta Lake table: it has no {_LOG}")
    try:
        table = deltalake.DeltaTable(str(path), version=version)
        frame = _polars().read_delta(table)
    except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
        wanted = "" if version is None else f" at version {version}"
        raise Invalid(f"the Delta Lake table {path} cannot be read{wanted}: {first_line(error)}") from None
    return frame, f"delta:{table.metadata().id}@{table.version()}"


def write_delta(path: Path, frame: polars.DataFrame, *, origin: str) -> int:
    """Write `frame` as the next version of the table at `path`, in place of the rows of before; its number.

    `origin` names what it came from, in the commit. Raises `AlreadyExists` for a folder with other things in it.
    """
    deltalake = _deltalake()
    if path.exists() and not is_delta(path) and (not path.is_dir() or any(path.iterdir())):
        raise AlreadyExists(f"{path} is there already and is no Delta Lake table; choose another folder")
    commit = deltalake.CommitProperties(custom_metadata={"headway": origin})
    options = {"commit_properties": commit, "schema_mode": "overwrite"}
    try:
        frame.write_delta(str(path), mode="overwrite", delta_write_options=options)
        return int(deltalake.DeltaTable(str(path)).version())
    except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
        raise Invalid(f"the Delta Lake table {path} cannot be written: {first_line(error)}") from None


def _deltalake() -> Any:
    try:
        import deltalake  # noqa: PLC0415
    except ImportError:
        raise ExtraMissing("Delta Lake tables need one more package: pip install 'headway[delta]'") from None
    return deltalake


def _polars() -> Any:
    import polars  # noqa: PLC0415

    return polars
