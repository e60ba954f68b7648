"""How well one column alone tells the label: what gives a leak away."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.tables.frames import kind_of_column
from headway.errors import Invalid
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.gates.statistics import auc

LEAST_ROWS = 50
LEAST_OF_A_LABEL = 20

Floats = NDArray[np.float64]


def separation(column: pl.Series, truth: Floats, *, binary: bool) -> float:
    """The better of the column's values and of whether it is missing, 0.5 to 1 (AUC) or 0 to 1 (rank correlation).

    A text stands for the mean label of its level in the other half of the rows, so that a column of names does not
    look telling. Raises `Invalid` with too few labels to say.
    """
    least = min((truth == 0).sum(), (truth == 1).sum()) if binary else len(truth)
    needed = LEAST_OF_A_LABEL if binary else LEAST_ROWS
    if least < needed:
        what = "rows of each label" if binary else "labelled rows"
        raise Invalid(f"{least} {what}; it takes {needed} to say whether one column tells the label")
    texts = kind_of_column(column.dtype) is Kind.STR
    values = _encoded(column.cast(pl.String), truth) if texts else column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    missing = np.isnan(values) | np.asarray(column.is_null())
    told = [_told(missing.astype(np.float64), truth, binary)]
    present = ~missing
    if present.sum() >= LEAST_ROWS:
        told.append(_told(values[present], truth[present], binary))
    return max(told)


def _told(values: Floats, truth: Floats, binary: bool) -> float:
    ranks = _ranks(values)
    if not binary:
        flat = ranks.min() == ranks.max() or truth.min() == truth.max()
        return 0.0 if flat else abs(float(np.corrcoef(ranks, _ranks(truth))[0, 1]))
    if truth.min() == truth.max():
        return 0.5
    area = auc(truth, ranks)
    return max(area, 1 - area)


def _ranks(values: Floats) -> Floats:
    """From 0 to 1, equal values alike."""
    distinct, places = np.unique(values, return_inverse=True)
    return places / max(len(distinct) - 1, 1)


def _encoded(column: pl.Series, truth: Floats) -> Floats:
    encoded = np.full(len(truth), np.nan)
    frame = pl.DataFrame({"level": column, "truth": truth, "half": np.arange(len(truth)) % 2})
    for half in (0, 1):
        other = frame.filter(pl.col("half") != half)
        base = pl.lit(other["truth"].mean(), pl.Float64)
        means = other.group_by("level").agg(mean=(pl.col("truth").sum() + base) / (pl.len() + 1))
        here = frame.filter(pl.col("half") == half).join(means, on="level", how="left", maintain_order="left")
        encoded[half::2] = here["mean"].fill_null(other["truth"].mean()).to_numpy()
    return encoded
