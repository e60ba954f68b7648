"""Scores a Parquet file by a release, in parts, so that work that was broken off goes on where it stopped.

Each part is a file of its own beside the output, whole or not there; the last step joins them and removes them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.runtimes.python import Raised
from headway.errors import BadTensor, Conflict, ContractBroken, Invalid, Unavailable
from headway.kernel.records import Value, encode
from headway.lifecycle.models.records import Datatype
from headway.serving.capture.exchange import by_row
from headway.serving.dialects.features import by_name
from headway.serving.loaded import LoadedRoute

PART_ROWS = 50_000
_ADDED = ("_score", "_release", "_error", "_skewed", "_label", "_probabilities")


class Job(Value):
    """What a folder of parts belongs to."""

    release: str
    blob: str
    size: int
    changed_ns: int
    rows: int
    part_rows: int


class Scored(Value):
    """`refused` rows broke the contract, did not fit the model or made it raise an error: they have no score, and
    `_error` says why."""

    release: str
    rows: int
    refused: int
    resumed: int
    """Rows that an earlier try had done."""


def score_file(
    loaded: LoadedRoute,
    source: Path,
    target: Path,
    *,
    part_rows: int = PART_ROWS,
    begin: Callable[[int, int], None] = lambda rows, done: None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Scored:
    """Write the rows of `source` to `target` with `_score`, `_release`, `_error` and `_skewed` beside them; of several
    classes also `_label` and `_probabilities`, in the order of the signature. `_skewed` are the features whose value
    breaks a rule that the contract lets pass, else null.

    Raises `Invalid` for a file that is no Parquet, lacks a feature or has one of these columns; `Conflict` when the
    target is there, is half made from something else, or is being made by another process; `Unavailable` when there is
    no room for it.
    """
    if target.exists():
        raise Conflict(f"{target} is there; move it away or name another file")
    job = _job(loaded, source, part_rows)
    with _folder(target, job) as folder:
        return _score_parts(loaded, source, target, job, folder, begin, progress)


def _score_parts(
    loaded: LoadedRoute, source: Path, target: Path, job: Job, folder: Path, begin: Callable[[int, int], None],
    progress: Callable[[int], None],
) -> Scored:  # fmt: skip
    part_rows = job.part_rows
    parts = [folder / f"{start:012}.parquet" for start in range(0, job.rows, part_rows)]
    resumed = sum(pl.scan_parquet(part).select(pl.len()).collect().item() for part in parts if part.exists())
    begin(job.rows, resumed)
    frame = pl.scan_parquet(source)
    for place, part in enumerate(parts):
        if not part.exists():
            rows = _scored(loaded, frame.slice(place * part_rows, part_rows).collect())
            _write(lambda path, rows=rows: rows.write_parquet(path), part)  # type: ignore[misc]
            progress(rows.height)
    whole = pl.concat([pl.scan_parquet(part) for part in parts]) if parts else _scored(loaded, frame.collect()).lazy()
    refused = whole.select(pl.col("_error").count()).collect().item()
    _write(lambda path: whole.sink_parquet(path), target)
    shutil.rmtree(folder)
    return Scored(release=loaded.route.release, rows=job.rows, refused=refused, resumed=resumed)


def _job(loaded: LoadedRoute, source: Path, part_rows: int) -> Job:
    try:
        schema = pl.read_parquet_schema(source)
        rows = pl.scan_parquet(source).select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Invalid(f"{source} cannot be read as Parquet: {error}") from None
    missing = [name for name in loaded.inputs.columns if name not in schema]
    if missing:
        raise Invalid(f"{source} has no column {', '.join(missing[:10])}; it has {', '.join(list(schema)[:20])}")
    if taken := [name for name in _ADDED if name in schema]:
        raise Invalid(f"{source} has a column {taken[0]}, which is where the answer goes; rename it")
    stat = source.stat()
    route = loaded.route
    return Job(
        release=route.release,
        blob=route.blob,
        size=stat.st_size,
        changed_ns=stat.st_mtime_ns,
        rows=rows,
        part_rows=part_rows,
    )


@contextmanager
def _folder(target: Path, job: Job) -> Iterator[Path]:
    """Where the parts go, for this process alone; raises `Conflict` when parts of another job are there."""
    folder = target.with_name(f"{target.name}.parts")
    try:
        folder.mkdir(exist_ok=True)
        opened = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Invalid(f"{target} cannot be made: {error.strerror}: {error.filename}") from None
    try:
        _lock(opened, target)
        known = folder / "job.json"
        if known.exists() and msgspec.json.decode(known.read_bytes(), type=Job) != job:
            raise Conflict(
                f"{folder} has parts of another job: the input, the release or the size of parts is not the same; "
                "remove the folder to begin anew"
            )
        _write(lambda path: path.write_bytes(encode(job)), known)
        yield folder
    finally:
        os.close(opened)


def _lock(folder: int, target: Path) -> None:
    """Until the folder is closed; the system frees what a dead process held."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"{target} is being made by another process; wait for it, or name another file") from None
    if target.exists():  # made by whoever had the lock before
        raise Conflict(f"{target} is there; move it away or name another file")


def _scored(loaded: LoadedRoute, rows: pl.DataFrame) -> pl.DataFrame:
    told = _Told.of(rows.height)
    if rows.height:
        _score_into(loaded, rows, told)
    beside = [
        pl.Series("_label", told.labels, pl.String),
        pl.Series("_probabilities", told.probabilities, pl.List(pl.Float64)),
    ] if loaded.classes else []  # fmt: skip
    return rows.with_columns(
        pl.Series("_score", told.scores, pl.Float64, nan_to_null=True),
        pl.lit(loaded.route.release).alias("_release"),
        pl.Series("_error", told.errors, pl.String),
        pl.Series("_skewed", told.skewed, pl.List(pl.String)),
        *beside,
    )


class _Told(NamedTuple):
    """What is told of each row; the last two of a release of several classes."""

    scores: NDArray[np.float64]
    errors: list[str | None]
    skewed: list[list[str] | None]
    labels: list[str | None]
    probabilities: list[list[float] | None]

    @classmethod
    def of(cls, rows: int) -> _Told:
        return cls(np.full(rows, np.nan), [None] * rows, [None] * rows, [None] * rows, [None] * rows)


def _score_into(loaded: LoadedRoute, rows: pl.DataFrame, told: _Told) -> None:
    """All rows at once if none is refused, else in halves: a row that is refused, or that the model fails on, must not
    take others with it."""
    spans = [(0, rows.height)]
    columns = _columns(loaded, rows)
    while spans:
        start, end = spans.pop()
        try:
            batch = by_name(loaded.inputs, {name: values[start:end] for name, values in columns.items()})
            skewed = loaded.inputs.check(batch)
            outputs = loaded.runtime.run(batch.feed)
        except (BadTensor, ContractBroken, Raised) as refusal:
            if end - start == 1:
                raised = isinstance(refusal, Raised)
                told.errors[start] = f"the model failed on this row: {refusal}" if raised else str(refusal)
            else:
                middle = (start + end) // 2
                spans += [(start, middle), (middle, end)]
            continue
        told.scores[start:end] = loaded.scores(outputs, end - start)
        told.skewed[start:end] = by_row(skewed, end - start)
        if loaded.classes:
            told.labels[start:end] = map(str, loaded.labels(outputs, end - start))
            told.probabilities[start:end] = loaded.probabilities(outputs, end - start).tolist()


def _columns(loaded: LoadedRoute, rows: pl.DataFrame) -> Mapping[str, list[Any]]:
    """The features as a request would bring them: a missing number as None, integers where floats are taken too."""
    floats = {
        name for spec in loaded.route.signature.inputs if spec.datatype in (Datatype.FP32, Datatype.FP64)
        for name in spec.columns
    }  # fmt: skip
    frame = rows.select(loaded.inputs.columns).fill_nan(None)
    return {
        name: frame[name].cast(pl.Float64, strict=False).to_list() if name in floats and frame[name].dtype.is_numeric()
        else frame[name].to_list()
        for name in frame.columns
    }  # fmt: skip


def _write(make: Callable[[Path], Any], path: Path) -> None:
    """The file appears whole or not at all, and stays when the power goes; raises `Unavailable` where it cannot."""
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        make(unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.rename(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        unfinished.unlink(missing_ok=True)
        raise Unavailable(f"{path} cannot be written: {error}; what is done stays: make room, then try again") from None
