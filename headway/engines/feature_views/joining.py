"""The point-in-time join: to each row of a table, what was known of its entity at its moment and not later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from headway.engines.feature_views.history import EVENT, ROW, USABLE, features_of, history, utc
from headway.engines.tables.frames import kind_of_column
from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.feature_views.records import DefineFeatures

_AT, _PLACE = "_at", "_place"


def joined(rows: pl.DataFrame, time: str, views: Sequence[tuple[DefineFeatures, pl.DataFrame]]) -> pl.DataFrame:
    """`rows` as they are, in their order, with the features of each view beside them.

    Each view comes with its source. A row without a time, or of an entity that is not known at its time, gets nulls;
    so does one whose values are older than the view's `ttl_s`. Raises `Invalid` for a column that is not there or
    would be there twice, and for entities that are not of one kind.
    """
    _check(rows, time, [view for view, _ in views])
    at = utc(time, rows.schema[time]).alias(_AT)
    spine = rows.select(*dict.fromkeys(name for view, _ in views for name in view.entity), at)
    spine = spine.with_row_index(_PLACE).sort(_AT)
    order = spine[_PLACE].arg_sort()
    return pl.concat([rows, *(_as_of(spine, *each)[order] for each in views)], how="horizontal")


def _as_of(spine: pl.DataFrame, view: DefineFeatures, source: pl.DataFrame) -> pl.DataFrame:
    """The features of the view for each row of `spine`, which is ordered by time, in its order.

    The join finds places in the source, and the features are gathered from there: they are not ordered along.
    """
    known, timed = history(source, view), spine.drop_nulls(_AT)
    for name in view.entity:
        mine, theirs = kind_of_column(spine.schema[name]), kind_of_column(known.schema[name])
        if mine is not theirs:
            raise Invalid(f"{name!r} is {mine} in the rows and {theirs} in the source of {view.name!r}; cast one")
        if spine.schema[name] != known.schema[name]:
            wide = pl.Int64 if mine is Kind.INT else pl.Float64 if mine is Kind.FLOAT else pl.String
            timed, known = (each.with_columns(pl.col(name).cast(wide)) for each in (timed, known))
    matched = timed.select(_AT, *view.entity).join_asof(
        known, left_on=_AT, right_on=USABLE, by=list(view.entity), strategy="backward", check_sortedness=False
    )
    found = pl.col(ROW)
    if view.ttl_s is not None:
        found = pl.when(pl.col(_AT) - pl.col(EVENT) <= timedelta(seconds=view.ttl_s)).then(found)
    places = matched.select(found)[ROW]
    untimed = pl.Series(ROW, [None] * (spine.height - timed.height), dtype=places.dtype)  # ordered first
    return features_of(source, view)[pl.concat([untimed, places])]


def _check(rows: pl.DataFrame, time: str, views: Sequence[DefineFeatures]) -> None:
    there = set(rows.columns)
    if time not in there:
        raise Invalid(f"the rows have no column {time!r}{nearest(time, rows.columns)}; say which holds their time")
    for view in views:
        for name in view.entity:
            if name not in there:
                close = nearest(name, rows.columns)
                raise Invalid(f"the rows have no column {name!r}{close}, by which {view.name!r} is joined")
    for view in views:
        for feature in view.features:
            if feature.name in there:
                raise Invalid(f"there would be two columns {feature.name!r}; rename the feature of {view.name!r}")
            there.add(feature.name)
