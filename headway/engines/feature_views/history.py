"""What was known of entities, and when: one history of rows for the training join and for lookups.

A row holds from its event time on, and is known from `known_at` on, so it can be used from the later of the two. Of
the rows that can be used at a moment, the one with the latest event time counts; of those with the same, the one that
was known last, and then the one that stands last in the table. A row that comes to be known after a row with a later
event time never counts, and is dropped here: what is left can be joined by one time alone.
"""

from __future__ import annotations

import re

import polars as pl

from headway.engines.tables.frames import kind_of_column
from headway.errors import Invalid, first_line
from headway.kernel.naming import nearest
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.feature_views.records import FEATURE_KINDS, DefineFeatures, Feature

USABLE, EVENT, ROW = "_usable_at", "_event_at", "_row"
_QUERY = re.compile(r"\bselect\b", re.IGNORECASE)
_ALONE = 16
"""Rows, at least, that are computed by themselves."""
UTC_US = pl.Datetime("us", "UTC")


def history(frame: pl.DataFrame, view: DefineFeatures, *, every: bool = False) -> pl.DataFrame:
    """The rows of `frame` that count at some moment: entity columns, `_usable_at`, `_event_at` and their place in it,
    `_row`, ordered by the time from which they can be used. With `every` also those that came too late to count.

    Times are microseconds in UTC; those without a zone are taken for UTC. Raises `Invalid` for a column that is not
    there and a time column that holds none.
    """
    for name in (*view.entity, view.event_time, *filter(None, [view.known_at])):
        if name not in frame.columns:
            raise Invalid(f"{view.name!r}: the source has no column {name!r}{nearest(name, frame.columns)}")
    for name in view.entity:
        _check_kind(name, frame.schema[name], view)
    event = utc(view.event_time, frame.schema[view.event_time])
    rows = frame.lazy().select(*view.entity, event.alias(EVENT), **_usable(frame, view, event))
    rows = rows.with_row_index(ROW).drop_nulls()
    if every or not view.known_at:
        return rows.sort(USABLE, maintain_order=True).collect()
    ordered = rows.sort(USABLE, EVENT, maintain_order=True)
    return ordered.filter(pl.col(EVENT) >= pl.col(EVENT).cum_max().over(view.entity)).collect()


def features_of(frame: pl.DataFrame, view: DefineFeatures) -> pl.DataFrame:
    """The features of every row of `frame`, in its order; NaN and infinities are nulls, which JSON has no others for.

    Raises `Invalid` for an expression that cannot be computed or looks at other rows, and for what no feature can be.
    """
    try:
        expressions = _expressions(frame, view)
        found = frame.select(**expressions)
        _check_rows_stand_alone(frame, found, expressions, view)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Invalid(f"{view.name!r}: its features cannot be computed: {first_line(error)}") from error
    for name, dtype in found.schema.items():
        _check_kind(name, dtype, view)
    return found.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in _floats(found))


def utc(column: str, dtype: pl.DataType) -> pl.Expr:
    """The times of a column as microseconds in UTC; raises `Invalid` for a column that holds none."""
    if kind_of_column(dtype) is not Kind.TIME:
        raise Invalid(f"column {column!r} is to hold times, but holds {dtype}; parse it first")
    times = pl.col(column)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return times.dt.convert_time_zone("UTC").cast(UTC_US)
    return times.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _usable(frame: pl.DataFrame, view: DefineFeatures, event: pl.Expr) -> dict[str, pl.Expr]:
    if not view.known_at:
        return {USABLE: event}
    known = utc(view.known_at, frame.schema[view.known_at])
    return {USABLE: pl.when(known.is_not_null()).then(pl.max_horizontal(event, known))}


def _expressions(frame: pl.DataFrame, view: DefineFeatures) -> dict[str, pl.Expr]:
    found = {}
    for feature in view.features:
        if feature.expression:
            found[feature.name] = _parsed(feature)
        elif feature.name in frame.columns:
            found[feature.name] = pl.col(feature.name)
        else:
            raise Invalid(f"{view.name!r}: no column {feature.name!r}{nearest(feature.name, frame.columns)}")
    return found


def _check_rows_stand_alone(
    frame: pl.DataFrame, found: pl.DataFrame, expressions: dict[str, pl.Expr], view: DefineFeatures
) -> None:
    """An aggregate or a window would tell of rows that are still to come. polars cannot say of an expression without
    its table whether it is one, so that some rows are computed once more, each by itself."""
    if not any(feature.expression for feature in view.features):
        return
    if found.height == frame.height:
        step = max(1, frame.height // _ALONE)
        places = range(0, frame.height, step)
        if all(frame[at : at + 1].select(**expressions).equals(found[at : at + 1]) for at in places):
            return
    raise Invalid(f"{view.name!r}: the expression of a feature may look at its own row alone; compute it in a step")


def _floats(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype.is_float()]


def _parsed(feature: Feature) -> pl.Expr:
    if _QUERY.search(feature.expression):  # a query could name a file of this machine
        raise Invalid(f"feature {feature.name!r}: an expression holds no query of its own; compute it in a step")
    try:
        return pl.sql_expr(feature.expression)
    except pl.exceptions.PolarsError as error:
        raise Invalid(f"feature {feature.name!r}: {feature.expression!r}: {first_line(error)}") from error


def _check_kind(name: str, dtype: pl.DataType, view: DefineFeatures) -> None:
    if kind_of_column(dtype) not in FEATURE_KINDS:
        raise Invalid(f"{view.name!r}: {name!r} holds {dtype}; it must be a number, a text or a boolean")
