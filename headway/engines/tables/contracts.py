"""A first contract, read off a table: a draft that a person then edits, generous where a sample cannot know."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from headway.engines.tables.frames import summary_of, utc_days
from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.schema import ColumnSummary, Kind

FEW_LEVELS = 30
_ROWS_PER_LEVEL = 20
_NULLS_FACTOR, _NULLS_MARGIN = 1.5, 0.05
_MEDIAN_Z = 5.0
_SKEWED = 10.0
_ROUNDING = 1e-9
"""Of a column's range: what is narrower has no width."""


def infer_contract(
    frame: pl.DataFrame,
    *,
    label: str | None = None,
    time: str | None = None,
    key: str | None = None,
    banned: Sequence[str] = (),
) -> Contract:
    """Rules that `frame` keeps, and that other rows of the same source should keep.

    - nulls: none where none were seen, else half as many again and 5 % more.
    - low, high: as much again as the range seen, beyond either end. A column that starts at 0 does not go below it, and
      may reach 10 times its highest value if its median is below a tenth of that: heavy tails have no range.
    - median: where the median of another sample may lie, 5 standard errors to either side by its order statistics. Days
      count as the sample with a `time` column, since rows of one day resemble each other; rows without. Not for
      columns whose range would have no width.
    - levels: all that were seen, for texts with at most 30 of them and 20 rows for each.

    Raises `Invalid` for an empty table, a column that is not there or that is named for two uses.
    """
    if frame.is_empty():
        raise Invalid("there is no row to read a contract off; hand over a table that is like those to come")
    uses = _uses(frame.columns, label, time, key, banned)
    days = utc_days(frame[time]).n_unique() if time else frame.height
    return Contract(
        columns=tuple(
            _rule(column, uses.get(column.name), frame[column.name], days) for column in summary_of(frame).columns
        )
    )


def _uses(
    columns: Sequence[str], label: str | None, time: str | None, key: str | None, banned: Sequence[str]
) -> dict[str, Use]:
    uses: dict[str, Use] = {}
    named = [(label, Use.LABEL), (time, Use.TIME), (key, Use.KEY), *((name, Use.BANNED) for name in banned)]
    for name, use in named:
        if name is None:
            continue
        if name not in columns:
            raise Invalid(f"there is no column {name!r} to use as {use}{nearest(name, columns)}")
        if name in uses:
            raise Invalid(f"column {name!r} is named as {uses[name]} and as {use}; choose one")
        uses[name] = use
    return uses


def _rule(column: ColumnSummary, use: Use | None, values: pl.Series, sample: int) -> ColumnRule:
    rule = ColumnRule(name=column.name, kind=column.kind, use=use or Use.FEATURE)
    if use is Use.BANNED:
        return rule.but(required=False, nulls=1.0)
    if use is None and column.kind in (Kind.TIME, Kind.OTHER):
        return rule.but(use=Use.OTHER, nulls=1.0)
    rule = rule.but(nulls=_nulls(column.nulls / len(values)))
    if use in (Use.KEY, Use.TIME):
        return rule
    if column.low is not None and column.high is not None and math.isfinite(column.high - column.low):
        low, high = (edge if math.isfinite(edge) else None for edge in _range(column))
        return rule.but(low=low, high=high, median=None if use is Use.LABEL else _median(column, values, sample))
    few = column.distinct <= min(FEW_LEVELS, len(values) // _ROWS_PER_LEVEL)
    return rule.but(levels=tuple(sorted(column.levels)) if column.levels and few else None)


def _nulls(share: float) -> float:
    return round(min(1.0, _NULLS_FACTOR * share + _NULLS_MARGIN), 3) if share else 0.0


def _range(column: ColumnSummary) -> tuple[float, float]:
    low, high, median = column.low or 0.0, column.high or 0.0, column.median or 0.0
    margin = (high - low) or abs(high) or 1.0
    if low == 0 and median * _SKEWED < high:
        return 0.0, _rounded(_SKEWED * high)
    return _rounded(0.0 if low == 0 else low - margin), _rounded(0.0 if high == 0 else high + margin)


def _median(column: ColumnSummary, values: pl.Series, sample: int) -> tuple[float, float] | None:
    """The quantiles between which the median of another sample lies (a binomial's 5 standard deviations)."""
    half = min(0.5, _MEDIAN_Z * 0.5 / math.sqrt(sample))
    present = values.cast(pl.Float64).fill_nan(None).drop_nulls()
    low, high = present.quantile(0.5 - half, "lower"), present.quantile(0.5 + half, "higher")
    if low is None or high is None or high - low <= _ROUNDING * ((column.high or 0.0) - (column.low or 0.0)):
        return None
    return min(low, _rounded(low)), max(high, _rounded(high))


def _rounded(value: float) -> float:
    """To six digits: a contract is read by people."""
    return float(f"{value:.6g}")
