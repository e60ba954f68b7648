"""Is the model better than its best baseline everywhere, or only on average?"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.gates.checks.quality import plain
from headway.engines.gates.trial import Floats, Trial
from headway.engines.tables.frames import kind_of_column
from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.gates.names import SlicesSettings
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.gates.statistics import Slice, slices

MOST_LEVELS = 20
"""A column of numbers with more distinct values is cut into quarters."""
_TOLD = 5


def by_slice(trial: Trial, settings: SlicesSettings) -> Finding:
    """Per slice, against the baseline with the lowest mean loss; alpha is shared between the columns."""
    if not trial.baselines:
        return Finding(outcome=Outcome.UNPROVEN, reason="no baseline was logged with this version to compare with")
    if not len(trial.truth):
        return Finding(outcome=Outcome.UNPROVEN, reason="no held-out row has a label")
    best = min(trial.baseline_losses, key=lambda name: float(trial.baseline_losses[name].mean()))
    levels = {name: _levels(trial.labelled, name) for name in settings.by}
    found = {name: _by(trial, values, trial.baseline_losses[best], settings) for name, values in levels.items()}
    numbers = {
        "baseline": best,
        "independent": trial.unit,
        "slices": {name: _plain(parts, levels[name], trial.losses) for name, parts in found.items()},
    }
    every = [(f"{name}={one.name}", one) for name, parts in found.items() for one in parts]
    if worse := [f"{label}: {one.reason}" for label, one in every if one.outcome is Outcome.FAIL]:
        return Finding(outcome=Outcome.FAIL, reason=f"against {best}, {'; '.join(worse[:_TOLD])}", numbers=numbers)
    open_shares = {name: _open_share(parts) for name, parts in found.items()}
    numbers["unproven_share"] = open_shares
    unproven = [f"{label} (n={one.comparison.n})" for label, one in every if one.outcome is Outcome.UNPROVEN]
    told = f"{len(unproven)} of {len(every)} slices unproven" + (f": {', '.join(unproven[:_TOLD])}" if unproven else "")
    if max(open_shares.values()) > settings.max_unproven_share:
        column = max(open_shares, key=lambda name: open_shares[name])
        reason = f"{open_shares[column]:.0%} of the rows lie in slices by {column!r} of which nothing is shown; {told}"
        return Finding(outcome=Outcome.UNPROVEN, reason=reason, numbers=numbers)
    return Finding(outcome=Outcome.PASS, reason=f"no slice is worse than {best}; {told}", numbers=numbers)


def _by(trial: Trial, values: NDArray[Any], losses: Floats, settings: SlicesSettings) -> tuple[Slice, ...]:
    return slices(
        values, trial.losses, losses, alpha=settings.alpha / len(settings.by),
        margin=settings.margin, clusters=trial.days, min_rows=settings.min_rows, min_clusters=settings.min_days,
    )  # fmt: skip


def _levels(frame: pl.DataFrame, name: str) -> NDArray[Any]:
    """The slice that each row is in."""
    if name not in frame.columns:
        raise Invalid(f"there is no column {name!r} to slice by{nearest(name, frame.columns)}")
    column = frame[name]
    if kind_of_column(column.dtype) in (Kind.INT, Kind.FLOAT):
        column = column.fill_nan(None) if column.dtype.is_float() else column
        if column.n_unique() > MOST_LEVELS:
            return _quarters(column.cast(pl.Float64))
    return column.cast(pl.String).fill_null("missing").to_numpy()


def _quarters(column: pl.Series) -> NDArray[Any]:
    values = column.to_numpy()
    cuts = np.unique(np.nanquantile(values, (0, 0.25, 0.5, 0.75, 1)))
    labels = np.array([f"{low:.4g} to {high:.4g}" for low, high in pairwise(cuts)])
    places = np.clip(np.searchsorted(cuts, values, side="right") - 1, 0, len(labels) - 1)
    return np.where(np.isnan(values), "missing", labels[places])


def _open_share(parts: tuple[Slice, ...]) -> float:
    rows = sum(one.comparison.n for one in parts)
    return sum(one.comparison.n for one in parts if one.outcome is Outcome.UNPROVEN) / rows


def _plain(parts: tuple[Slice, ...], values: NDArray[Any], losses: Floats) -> list[dict[str, Any]]:
    levels, places = np.unique(values.astype(np.str_), return_inverse=True)
    means = dict(zip(levels.tolist(), (np.bincount(places, losses) / np.bincount(places)).tolist(), strict=True))
    return [
        {
            "slice": one.name, "outcome": str(one.outcome), "loss": means[one.name], "p_worse": one.p_worse,
            **plain(one.comparison),
        }
        for one in parts
    ]  # fmt: skip
