"""Train/serve skew: what requests brought, beside what a dataset has of the same rows.

A model that was trained on one computation of a feature and is asked with another one is wrong without any drift. Rows
are matched by prediction id, and values are compared as the model takes them, after both have become its datatype.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl

from headway.client.client import Client
from headway.errors import Invalid, NotFound
from headway.kernel.naming import nearest
from headway.kernel.records import Value
from headway.serving.offline.replay import rows_of, segments

_OWN = "_"
"""How the columns begin that capture adds to the features."""


class FeatureSkew(Value):
    """One feature over the rows that both have. `largest` is the largest gap between two numbers; the example is the
    row that is furthest apart, or the first that differs."""

    feature: str
    rows: int
    different: int
    largest: float
    prediction: str = ""
    captured: Any = None
    dataset: Any = None


class Skew(Value):
    """`unmatched` captured rows are not in the dataset; `absent` features are not among its columns."""

    deployment: str
    dataset: str
    rows: int
    unmatched: int
    features: tuple[FeatureSkew, ...]
    absent: tuple[str, ...] = ()

    @property
    def different(self) -> int:
        return sum(each.different for each in self.features)


def skew(
    client: Client,
    deployment: str,
    dataset: str,
    key: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Skew:
    """What was captured of `deployment` with an event in [start, end), beside a dataset version whose column `key` has
    the predictions' ids.

    Raises `NotFound` when nothing was captured then, and `Invalid` for a key that is no column, is there twice, or
    matches no captured row.
    """
    table = _keyed(client.datasets.read(dataset), key, dataset)
    found: defaultdict[str, _Feature] = defaultdict(_Feature)
    rows = unmatched = 0
    absent = set[str]()
    for segment in segments(client, deployment, start, end):
        frame = rows_of(client, segment, start, end).filter(pl.col("_status") == 200)
        features = [name for name in frame.columns if not name.startswith(_OWN)]
        absent.update(name for name in features if name not in table.columns)
        both = frame.select("_prediction", *features).join(
            table, left_on="_prediction", right_on="_key", suffix="_dataset"
        )
        rows, unmatched = rows + both.height, unmatched + frame.height - both.height
        for name in (each for each in features if each in table.columns):
            found[name].add(name, both)
        progress(frame.height)
    if not rows + unmatched:
        raise NotFound(f"no prediction of {deployment!r} was captured in that time")
    if not rows:
        raise Invalid(f"no captured prediction is in column {key!r} of {dataset}; it must hold the predictions' ids")
    skews = tuple(each.skew(name) for name, each in found.items())
    return Skew(
        deployment=deployment, dataset=dataset, rows=rows, unmatched=unmatched, features=skews,
        absent=tuple(sorted(absent)),
    )  # fmt: skip


def _keyed(table: pl.DataFrame, key: str, dataset: str) -> pl.DataFrame:
    if key not in table.columns:
        raise Invalid(f"{dataset} has no column {key[:100]!r}{nearest(key, table.columns) or ''}")
    keyed = table.with_columns(_key=pl.col(key).cast(pl.String))
    if keyed["_key"].n_unique() < keyed.height:
        raise Invalid(f"column {key!r} of {dataset} has a value twice; it must name one row each")
    return keyed


class _Feature:
    def __init__(self) -> None:
        self.rows = self.different = 0
        self.largest, self.example = 0.0, ("", None, None)

    def add(self, name: str, both: pl.DataFrame) -> None:
        captured, other = both[name], both[f"{name}_dataset"]
        numeric = captured.dtype.is_numeric() and other.dtype.is_numeric()
        other = other.cast(captured.dtype, strict=False)
        if captured.dtype.is_float():
            captured, other = captured.fill_nan(None), other.fill_nan(None)
        apart = captured.ne_missing(other)
        self.rows, self.different = self.rows + both.height, self.different + int(apart.sum())
        if not apart.any():
            return
        place = apart.arg_max() or 0
        gaps = (captured.cast(pl.Float64) - other.cast(pl.Float64)).abs() if numeric else None
        if gaps is not None and (furthest := gaps.arg_max()) is not None and gaps[furthest] > 0:
            place = furthest
        gap = (gaps[place] or 0.0) if gaps is not None else 0.0
        if not self.example[0] or gap > self.largest:
            self.example = (both["_prediction"][place], captured[place], other[place])
        self.largest = max(self.largest, gap)

    def skew(self, name: str) -> FeatureSkew:
        prediction, captured, other = self.example
        return FeatureSkew(
            feature=name, rows=self.rows, different=self.different, largest=self.largest,
            prediction=prediction, captured=captured, dataset=other,
        )  # fmt: skip
