"""Tables that came as Parquet: what they hold, how they are distributed, and what a captured segment says."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.errors import Invalid, first_line
from headway.lifecycle.datasets.contract import Contract, Use
from headway.lifecycle.datasets.profile import Layout
from headway.lifecycle.datasets.profiling import learn_layout, profile
from headway.lifecycle.datasets.reference import Reference, encode_reference, merged, read_reference
from headway.lifecycle.datasets.schema import ColumnSummary, Kind, Summary
from headway.lifecycle.monitors.classes import LABEL
from headway.lifecycle.predictions.records import Captured, Comparison, Counts, Difference, SegmentContent
from headway.lifecycle.predictions.rules import MOST_LARGEST
from headway.lifecycle.rollouts.fallbacks import CONSTANT
from headway.lifecycle.rollouts.records import TOLERANCES

MOST_LEVELS = 1000
PROFILED = (Kind.INT, Kind.FLOAT, Kind.BOOL, Kind.STR)
"""Kinds of columns that have a profile."""
LATENCY_BOUNDS_US = (
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000, 20_000_000, 60_000_000, 86_400_000_000,
)  # fmt: skip
"""A request counts under the first bound it does not exceed; the last one takes all that is slower than a minute."""
_CAPTURE_COLUMNS = ("_prediction", "_release", "_event_at", "_status", "_latency_us", "_score")
_MIRROR_COLUMNS = ("_mirror_release", "_mirror_score")
_CLASS_COLUMNS = ("_probabilities", "_mirror_probabilities")
_CHANCES = pl.List(pl.Float64)
_MAGIC = b"PAR1"


def read_table(data: bytes) -> pl.DataFrame:
    """The table in these Parquet bytes; raises `Invalid` when they are none."""
    if not (data.startswith(_MAGIC) and data.endswith(_MAGIC)):
        raise Invalid("this is no Parquet file; save the table as Parquet and send that")
    try:
        return pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise Invalid(
            f"this Parquet file cannot be read ({first_line(error)}); write it again and send that"
        ) from error


def kind_of_column(dtype: pl.DataType) -> Kind:
    if dtype.is_integer():
        return Kind.INT
    if dtype.is_float() or dtype.is_decimal():
        return Kind.FLOAT
    if dtype == pl.Boolean:
        return Kind.BOOL
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Kind.STR
    return Kind.TIME if dtype in (pl.Datetime, pl.Date) else Kind.OTHER


def utc_days(times: pl.Series) -> pl.Series:
    """The ISO date in UTC of each time, null where there is none; times without a zone are taken for UTC."""
    if times.dtype == pl.Datetime and getattr(times.dtype, "time_zone", None):
        times = times.dt.convert_time_zone("UTC")
    if kind_of_column(times.dtype) is not Kind.TIME:
        raise Invalid(f"column {times.name!r} is to hold times, but holds {times.dtype}; parse it before sending")
    return times.dt.strftime("%Y-%m-%d")


def columns_of(table: bytes | pl.DataFrame, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """`names` of a table as arrays to be profiled, one value per row.

    Numbers and booleans are float32, the precision at which a model is asked, so that a table and the requests that
    carry its values fall into the same cells; a missing one is NaN. Texts are objects, a missing one is None.
    Raises `Invalid` for a column that is not there, or is neither number nor text.
    """
    frame = read_table(table) if isinstance(table, bytes) else table
    return {name: _values(_column(frame, name)) for name in names}


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise Invalid(f"the table has no column {name!r}; it has {', '.join(frame.columns[:20])}")
    return frame[name]


def _values(column: pl.Series) -> NDArray[Any]:
    kind = kind_of_column(column.dtype)
    if kind is Kind.STR:
        return column.cast(pl.String).to_numpy()
    if kind not in PROFILED:
        raise Invalid(f"column {column.name!r} holds {column.dtype}; only numbers, booleans and texts have a profile")
    return column.cast(pl.Float32).fill_null(np.nan).to_numpy()


class PolarsInspector:
    """Implements `Inspector`."""

    def summarise(self, data: bytes) -> Summary:
        return summary_of(read_table(data))

    def reference(self, data: bytes, contract: Contract | None) -> bytes:
        """Over the features of the contract, or all columns without one; days by the contract's only time column."""
        frame = read_table(data)
        wanted = set(contract.used_as(Use.FEATURE)) if contract else set(frame.columns)
        names = [name for name in frame.columns if name in wanted and kind_of_column(frame[name].dtype) in PROFILED]
        time = contract.one(Use.TIME) if contract else None
        return encode_reference(reference_of(frame, names, time if time in frame.columns else None))

    def extended(self, reference: bytes, data: bytes, contract: Contract | None) -> bytes:
        """Over the layout of `reference`."""
        frame, held = read_table(data), read_reference(reference)
        time = contract.one(Use.TIME) if contract else None
        time = time if time in frame.columns else None
        more = reference_of(frame, list(held.layout.columns), time, held.layout)
        return encode_reference(merged(held, more))

    def joined(self, parts: Sequence[bytes]) -> bytes:
        buffer = io.BytesIO()
        pl.concat([read_table(part) for part in parts], how="vertical_relaxed").write_parquet(buffer)
        return buffer.getvalue()


def summary_of(frame: pl.DataFrame) -> Summary:
    return Summary(rows=frame.height, columns=tuple(_summarised(column) for column in frame))


def _summarised(column: pl.Series) -> ColumnSummary:
    """A NaN is a null; infinities stay in `low` and `high`, where a contract finds them."""
    kind = kind_of_column(column.dtype)
    if kind is Kind.FLOAT:
        column = column.cast(pl.Float64).fill_nan(None)
    summary = ColumnSummary(name=column.name, kind=kind, nulls=column.null_count())
    present = column.drop_nulls()
    if kind is Kind.STR:
        counted = present.cast(pl.String).rename("level").value_counts()
        levels = counted.sort(["count", "level"], descending=[True, False])["level"]
        return summary.but(levels=tuple(levels.head(MOST_LEVELS)), distinct=counted.height)
    if kind not in (Kind.INT, Kind.FLOAT) or present.is_empty():
        return summary if kind is Kind.OTHER else summary.but(distinct=present.n_unique())
    low, high, median = (float(value) for value in (present.min(), present.max(), present.median()))  # type: ignore[arg-type]
    return summary.but(low=low, high=high, median=median, distinct=present.n_unique())


def reference_of(
    frame: pl.DataFrame, names: Collection[str], time: str | None, layout: Layout | None = None
) -> Reference:
    """Profiles of `names` over the whole of `frame` and over each of its days by the column `time`; over a layout that
    is learnt from it, if none is given.

    Rows without a time are in the whole and in no day.
    """
    if time is None:
        columns = columns_of(frame, names)
        layout = layout or learn_layout(columns)
        return Reference(layout=layout, whole=profile(columns, layout))
    days = utc_days(frame[time])
    order = days.arg_sort(nulls_last=True)
    days, columns = days.gather(order), columns_of(frame[order], names)
    layout = layout or learn_layout(columns)
    profiles, start = {}, 0
    for day, rows in days.drop_nulls().rle().struct.unnest().select("value", "len").iter_rows():
        profiles[day] = profile({name: values[start : start + rows] for name, values in columns.items()}, layout)
        start += rows
    return Reference(layout=layout, whole=profile(columns, layout), days=profiles)


def features_of(segment: bytes, *also: str) -> pl.DataFrame:
    """The rows of a captured segment that are of its sample: their features, and beside them `_prediction`, `_release`,
    `_day`, `_status`, of several classes `_label`, and of `also` what there is."""
    frame = _read_segment(segment).filter("_sampled")
    features = [name for name in frame.columns if not name.startswith("_") or name in (LABEL, *also)]
    return frame.select(*features, "_prediction", "_release", utc_days(frame["_event_at"]).alias("_day"), "_status")


class PolarsSegmentReader:
    """Implements `SegmentReader` for the Parquet that a model server writes."""

    def read(self, deployment: str, segment: str, data: bytes) -> SegmentContent:
        """A request that never reached a release is counted under no name, and is not in the index.

        An error is any answer but 200, whoever's fault it was, and any that something else gave in its place: a release
        that refuses good requests must be seen. Only the sample is counted, where a share is captured: rows that were
        kept for their error would raise its rate.
        """
        frame = _read_segment(data)
        if frame.is_empty():
            raise Invalid("the segment holds no row; send segments that do")
        events: list[datetime] = frame["_event_at"].sort().to_list()
        return SegmentContent(
            captured=tuple(_captured(frame, deployment, segment)),
            counts=tuple(
                _counts(release or "", rows)
                for (release,), rows in frame.filter("_sampled").group_by("_release", maintain_order=True)
            ),
            first_event_at=events[0],
            last_event_at=events[-1],
            rows=frame.height,
            comparisons=tuple(_comparisons(frame)),
        )


def _read_segment(data: bytes) -> pl.DataFrame:
    frame = read_table(data)
    if missing := [name for name in _CAPTURE_COLUMNS if name not in frame.columns]:
        raise Invalid(f"this is no segment of captured predictions: it has no {', '.join(missing)}")
    absent = [pl.lit(None, pl.String).alias(name) for name in _MIRROR_COLUMNS if name not in frame.columns]
    if "_fallback" not in frame.columns:
        absent.append(pl.lit(None, pl.String).alias("_fallback"))
    absent += [pl.lit(None, _CHANCES).alias(name) for name in _CLASS_COLUMNS if name not in frame.columns]
    if "_sampled" not in frame.columns:  # written by whoever captures everything
        absent.append(pl.lit(True).alias("_sampled"))
    try:
        frame = frame.with_columns(absent).with_columns(
            pl.col("_prediction", "_release", "_mirror_release", "_fallback").cast(pl.String),
            pl.col("_event_at").cast(pl.Datetime("us", "UTC")),
            pl.col("_status").cast(pl.Int32),
            pl.col("_sampled").cast(pl.Boolean).fill_null(True),
            pl.col("_latency_us", "_score", "_mirror_score").cast(pl.Float64).fill_nan(None),
            pl.col(_CLASS_COLUMNS).cast(_CHANCES),
        )
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"this is no segment of captured predictions: {first_line(error)}") from error
    if nulls := [name for name in ("_event_at", "_status", "_latency_us") if frame[name].null_count()]:
        raise Invalid(f"the segment has rows without {', '.join(nulls)}; every captured request has them")
    return frame


def _captured(frame: pl.DataFrame, deployment: str, segment: str) -> Iterable[Captured]:
    indexed = frame.with_row_index("_row").filter(
        pl.col("_release").is_not_null(), pl.col("_prediction").fill_null("") != ""
    )
    # What a constant said is nobody's prediction: it is found, and adds nothing to anybody's quality.
    constant = (pl.col("_fallback") == CONSTANT).fill_null(False)
    indexed = indexed.with_columns(
        pl.when(constant).then(None).otherwise(pl.col("_score")).alias("_score"),
        pl.when(constant | pl.col("_fallback").is_null()).then("_release").otherwise("_fallback").alias("_release"),
    )
    columns = indexed.select(
        "_prediction", "_row", "_release", "_event_at", "_score", "_mirror_release", "_mirror_score", *_CLASS_COLUMNS
    )
    for prediction, row, release, event_at, score, rival, rival_score, chances, rival_chances in columns.iter_rows():
        yield Captured(
            id=prediction, deployment=deployment, segment=segment, row=row, release=release, event_at=event_at,
            score=score, mirror_release=rival, mirror_score=rival_score, probabilities=_finite(chances),
            mirror_probabilities=_finite(rival_chances),
        )  # fmt: skip


def _comparisons(frame: pl.DataFrame) -> Iterable[Comparison]:
    both = frame.filter(pl.col("_release").is_not_null(), pl.col("_mirror_release").is_not_null())
    for (release, rival), rows in both.group_by("_release", "_mirror_release", maintain_order=True):
        scored = rows.drop_nulls(["_score", "_mirror_score"])
        apart = _apart(scored)
        places = np.searchsorted(TOLERANCES, apart.to_numpy(), side="left")
        furthest = scored.filter(apart > 0)[apart.filter(apart > 0).arg_sort(descending=True)[:MOST_LARGEST]]
        yield Comparison(
            release=str(release),
            rival=str(rival),
            cells=tuple(np.bincount(places, minlength=len(TOLERANCES) + 1).tolist()),
            failed=rows.height - scored.height,
            largest=tuple(
                Difference(prediction=prediction or "", score=score, rival_score=rival_score)
                for prediction, score, rival_score in furthest.select(
                    "_prediction", "_score", "_mirror_score"
                ).iter_rows()
            ),
        )


def _apart(scored: pl.DataFrame) -> pl.Series:
    """How far both scores of each row are apart; of the same number of classes, in the one where they are furthest."""
    apart = (scored["_score"] - scored["_mirror_score"]).abs()
    if scored["_probabilities"].null_count() == scored.height:
        return apart
    pairs = zip(scored["_probabilities"].to_list(), scored["_mirror_probabilities"].to_list(), apart, strict=True)
    found = [
        max(abs(one - other) for one, other in zip(mine, theirs, strict=True))
        if mine and theirs and len(mine) == len(theirs) else alone
        for mine, theirs, alone in pairs
    ]  # fmt: skip
    return pl.Series(found, dtype=pl.Float64)


def _finite(chances: list[float] | None) -> tuple[float, ...]:
    """Nothing for what has a probability that is no number: it cannot be judged."""
    return tuple(chances) if chances and all(chance is not None and math.isfinite(chance) for chance in chances) else ()


def _counts(release: str, rows: pl.DataFrame) -> Counts:
    places = np.searchsorted(LATENCY_BOUNDS_US[:-1], rows["_latency_us"].to_numpy(), side="left")
    counted = np.bincount(places, minlength=len(LATENCY_BOUNDS_US)).tolist()
    return Counts(
        release=release,
        requests=rows.height,
        errors=int(((rows["_status"] != 200) | rows["_fallback"].is_not_null()).sum()),
        latency={bound: count for bound, count in zip(LATENCY_BOUNDS_US, counted, strict=True) if count},
    )
