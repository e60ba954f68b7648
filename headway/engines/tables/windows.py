"""One day of captured predictions as a profile, to be held against the reference."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from headway.engines.tables.frames import columns_of, features_of, kind_of_column
from headway.kernel.records import Value
from headway.lifecycle.datasets.profile import Layout, LevelLayout, NumericLayout, Profile
from headway.lifecycle.datasets.profiling import profile
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.monitors.skew import SkewedDay

_ANSWERED = 200


class DayWindow(Value):
    """`profile` is over every prediction of the day that was answered; the rest says what was left out of it."""

    profile: Profile
    failed: int
    """Rows of the day that got no answer."""
    repeated: int
    """Rows of a prediction that was counted already."""
    other: int
    """Rows of releases that do not take the columns of the layout, or as other types."""


def day_window(segments: Iterable[bytes], day: str, layout: Layout) -> DayWindow:
    """The predictions whose event was on `day` (ISO date in UTC), over `layout`, from the Parquet of all segments that
    may hold some. Raises `Invalid` for a segment that is none."""
    names = list(layout.columns)
    kept, failed, other = [], 0, 0
    for segment in segments:
        rows = features_of(segment).filter(pl.col("_day") == day)
        answered = rows.filter(pl.col("_status") == _ANSWERED)
        failed += rows.height - answered.height
        if all(_fits(answered.get_column(name, default=None), cells) for name, cells in layout.columns.items()):
            kept.append(answered.select(*names, "_prediction"))
        else:
            other += answered.height
    if not kept:
        empty = profile({name: [] for name in names}, layout)
        return DayWindow(profile=empty, failed=failed, repeated=0, other=other)
    together = pl.concat(kept, how="vertical_relaxed")
    once = together.unique(subset="_prediction", keep="first", maintain_order=True)
    return DayWindow(
        profile=profile(columns_of(once, names), layout),
        failed=failed,
        repeated=together.height - once.height,
        other=other,
    )


def skewed_day(segments: Iterable[bytes], day: str, release: str, columns: Collection[str]) -> SkewedDay:
    """How many of the rows that `release` answered on `day` break rules of `columns`, as the model server has marked
    them. Raises `Invalid` for a segment that is none."""
    rows = pl.concat([_marked(segment, day, release) for segment in segments] or [_NO_MARKS])
    once = rows.unique(subset="_prediction", keep="first", maintain_order=True)
    marks = once.with_row_index("row").explode("_skewed").filter(pl.col("_skewed").is_in(list(columns)))
    counted = marks["_skewed"].value_counts()
    return SkewedDay(rows=once.height, skewed=marks["row"].n_unique(), columns=dict(counted.iter_rows()))


_NO_MARKS = pl.DataFrame(schema={"_prediction": pl.String, "_skewed": pl.List(pl.String)})


def _marked(segment: bytes, day: str, release: str) -> pl.DataFrame:
    """Segments of servers that marked nothing yet have no `_skewed`: they let nothing pass."""
    rows = features_of(segment, "_skewed").filter(
        (pl.col("_day") == day) & (pl.col("_release") == release) & (pl.col("_status") == _ANSWERED)
    )
    if "_skewed" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, pl.List(pl.String)).alias("_skewed"))
    return rows.select(_NO_MARKS.columns)


def _fits(column: pl.Series | None, cells: NumericLayout | LevelLayout) -> bool:
    return column is not None and (kind_of_column(column.dtype) is Kind.STR) == isinstance(cells, LevelLayout)


def day_profiles(segments: Iterable[bytes], day: str, layout: Layout) -> Profile:
    """The profile of `day_window` alone."""
    return day_window(segments, day, layout).profile
