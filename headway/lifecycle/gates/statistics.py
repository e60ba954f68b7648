"""Compare two models on the same held-out rows, overall and slice by slice. Needs the extra [ml].

Rows of one day are not independent (one storm delays them all), so uncertainty is taken between clusters, such as
days, wherever they are given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headway.errors import Invalid
from headway.kernel.distributions import student_t_quantile, student_t_tail
from headway.kernel.records import Value
from headway.kernel.statistics import UNBOUNDED, Interval
from headway.lifecycle.gates.records import Outcome

_SMALLEST = 1e-15
"""Scores are kept this far from 0 and 1, so that one certain error does not make the log loss infinite."""


class Comparison(Value):
    """Mean loss of a minus mean loss of b: below zero, a is better. `clusters` are the independent units behind it."""

    estimate: float
    error: float
    interval: Interval
    n: int
    clusters: int
    df: float
    """Degrees of freedom: the effective number of clusters less one."""

    def p_above(self, margin: float) -> float:
        """One-sided p value against `the difference is at most margin`."""
        return self._p(self.estimate - margin)

    def p_below(self, margin: float) -> float:
        """One-sided p value against `the difference is at least margin`; where they are equal, a is not worse."""
        return self._p(margin - self.estimate, equal=0.0)

    def _p(self, beyond: float, equal: float = 1.0) -> float:
        if self.df < 1:
            return 1.0
        if self.error == 0:
            return equal if beyond == 0 else float(beyond < 0)
        return student_t_tail(beyond / self.error, self.df)


class Slice(Value):
    """One slice of the rows. `p_worse` and `p_not_worse` are adjusted for all slices that were tested (Holm 1979).

    `fail`: a is worse than b by more than the margin; `pass`: it is shown not to be; `unproven`: neither is shown, or
    there are too few rows or clusters to try. The interval covers all tested slices together (Bonferroni).
    """

    name: str
    comparison: Comparison
    p_worse: float
    p_not_worse: float
    outcome: Outcome
    reason: str


def paired_difference(
    loss_a: ArrayLike, loss_b: ArrayLike, alpha: float = 0.05, clusters: ArrayLike | None = None
) -> Comparison:
    """The difference of mean losses, from the two losses of every row ([n] each) and its cluster ([n], any labels).

    Cluster-robust variance with the G / (G - 1) correction (Liang and Zeger 1986) and Student's t on the effective
    number of clusters (sum n_g)^2 / sum n_g^2, less one. Unbounded with fewer than two effective clusters. Raises
    `Invalid` for losses that are missing, not finite, or not one per row.
    """
    difference = _differences(loss_a, loss_b)
    labels = np.arange(difference.size) if clusters is None else _labels(clusters)
    if labels.shape != difference.shape:
        raise Invalid(f"clusters need one label per row: {labels.size} labels, {difference.size} rows")
    return _compare(difference, np.unique(labels, return_inverse=True)[1], alpha)


def slices(
    values: ArrayLike, loss_a: ArrayLike, loss_b: ArrayLike, *, alpha: float = 0.05, margin: float = 0.0,
    clusters: ArrayLike | None = None, min_rows: int = 100, min_clusters: int = 10,
) -> tuple[Slice, ...]:  # fmt: skip
    """`paired_difference` for the rows of each distinct value ([n]), largest slice first.

    Each direction, worse and not worse, is tested at alpha / 2. Cut numbers into ranges before handing them in.
    Raises `Invalid` as `paired_difference` does.
    """
    difference = _differences(loss_a, loss_b)
    names, units = _labels(values), np.arange(difference.size) if clusters is None else _labels(clusters)
    if names.shape != difference.shape or units.shape != difference.shape:
        raise Invalid(f"values and clusters need one label per row; there are {difference.size} rows")
    kept, places = np.unique(names, return_inverse=True)
    unit_places = np.unique(units, return_inverse=True)[1]
    rows = {str(name): np.flatnonzero(places == place) for place, name in enumerate(kept)}
    tested = [
        name for name, at in rows.items() if at.size >= min_rows and np.unique(unit_places[at]).size >= min_clusters
    ]
    family = max(len(tested), 1)
    found = {name: _compare(difference[at], unit_places[at], alpha / family) for name, at in rows.items()}
    worse = dict(zip(tested, holm([found[name].p_above(margin) for name in tested]), strict=True))
    not_worse = dict(zip(tested, holm([found[name].p_below(margin) for name in tested]), strict=True))
    few = f"it takes {min_rows} rows and {min_clusters} clusters"
    return tuple(
        _slice(
            name, found[name], worse.get(name, 1.0), not_worse.get(name, 1.0), alpha, few if name not in worse else ""
        )
        for name in sorted(rows, key=lambda name: (-rows[name].size, name))
    )


def holm(ps: Sequence[float]) -> list[float]:
    """p values adjusted so that any below alpha may be believed together (Holm 1979), in the order given."""
    adjusted, least = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = least
    return adjusted


def log_losses(labels: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Minus the logarithm of the probability given to what happened, per row: labels 0 or 1, scores P(1), [n] each."""
    truth, chance = _scored(labels, scores)
    given = np.where(truth == 1, chance, 1 - chance)
    losses: NDArray[np.float64] = -np.log(np.clip(given, _SMALLEST, 1.0))
    return losses


def squared_losses(labels: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """(score - label)^2 per row: their mean is the Brier score of a classifier, the squared error of a regressor."""
    return np.square(_differences(scores, labels))


def class_losses(places: ArrayLike, chances: ArrayLike) -> NDArray[np.float64]:
    """Per row, the sum over classes of (P(class) - 1 if it happened else 0)^2 (Brier 1950), from 0 to 2.

    `places` [n] says which column of `chances` [n, classes] happened; -1 stands for a class that the model does not
    know, to which it gave no chance. Raises `Invalid` for what is not finite.
    """
    truth, given = _classified(places, chances)
    losses: NDArray[np.float64] = np.square(given).sum(axis=1) + 1 - 2 * _happened(truth, given)
    return losses


def class_log_loss(places: ArrayLike, chances: ArrayLike) -> float:
    """Minus the mean logarithm of the probability given to what happened; as `class_losses` takes it."""
    return float(-np.log(np.clip(_happened(*_classified(places, chances)), _SMALLEST, 1.0)).mean())


def class_accuracy(places: ArrayLike, chances: ArrayLike) -> float:
    """The share of rows whose likeliest class is what happened; as `class_losses` takes it."""
    truth, given = _classified(places, chances)
    return float((given.argmax(axis=1) == truth).mean())


def log_loss(labels: ArrayLike, scores: ArrayLike) -> float:
    return float(log_losses(labels, scores).mean())


def brier(labels: ArrayLike, scores: ArrayLike) -> float:
    truth, chance = _scored(labels, scores)
    return float(np.square(chance - truth).mean())


def accuracy(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> float:
    """The share of rows for which `score >= threshold` says what happened."""
    truth, chance = _scored(labels, scores)
    return float(((chance >= threshold) == (truth == 1)).mean())


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The chance that a random 1 scores above a random 0, ties counting half (Mann and Whitney).

    Raises `Invalid` unless both labels occur.
    """
    truth, chance = _scored(labels, scores)
    ones = int((truth == 1).sum())
    zeros = truth.size - ones
    if ones == 0 or zeros == 0:
        raise Invalid("AUC needs rows of both labels; take a longer window")
    _, places, counts = np.unique(chance, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(counts) - (counts - 1) / 2
    return float((middle_rank[places][truth == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _compare(difference: NDArray[np.float64], units: NDArray[np.intp], alpha: float) -> Comparison:
    n = difference.size
    sizes = np.bincount(units) if n else np.empty(0)
    clusters = int((sizes > 0).sum())
    df = n**2 / float(np.square(sizes, dtype=np.float64).sum()) - 1 if n else 0.0
    estimate = float(difference.mean()) if n else 0.0
    if df < 1:
        unknown = Interval(low=-UNBOUNDED, high=UNBOUNDED, level=1 - alpha)
        return Comparison(estimate=estimate, error=UNBOUNDED, interval=unknown, n=n, clusters=clusters, df=0.0)
    strayed = np.bincount(units, weights=difference - estimate)
    error = math.sqrt(clusters / (clusters - 1) * float(strayed @ strayed)) / n
    half = student_t_quantile(1 - alpha / 2, df) * error
    interval = Interval(low=estimate - half, high=estimate + half, level=1 - alpha)
    return Comparison(estimate=estimate, error=error, interval=interval, n=n, clusters=clusters, df=df)


def _slice(name: str, comparison: Comparison, worse: float, not_worse: float, alpha: float, few: str) -> Slice:
    interval = comparison.interval
    told = f"difference {comparison.estimate:.4g} ({interval.low:.4g} to {interval.high:.4g})"
    counted = f"{comparison.n} rows in {comparison.clusters} clusters"
    if few:
        outcome, reason = Outcome.UNPROVEN, f"{counted}; {few}"
    elif worse <= alpha / 2:
        outcome, reason = Outcome.FAIL, f"worse: {told}, {counted}"
    elif not_worse <= alpha / 2:
        outcome, reason = Outcome.PASS, f"not worse: {told}, {counted}"
    else:
        outcome, reason = Outcome.UNPROVEN, f"neither shown: {told}, {counted}"
    return Slice(
        name=name, comparison=comparison, p_worse=worse, p_not_worse=not_worse, outcome=outcome, reason=reason
    )  # fmt: skip


def _labels(values: ArrayLike) -> NDArray[Any]:
    """As texts, so that nulls and mixed types have an order too."""
    return np.array([str(value) for value in np.asarray(values).tolist()], dtype=np.str_)


def _losses(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Invalid(f"{name} values must be numbers, one per row: {error}") from error
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise Invalid(f"{name} values must be finite numbers, one per row; leave out rows without a label")
    return numbers


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    first, second = _losses(a, "the first"), _losses(b, "the second")
    if first.shape != second.shape:
        raise Invalid(f"both must be of the same rows; there are {first.size} and {second.size}")
    return first - second


def _classified(places: ArrayLike, chances: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    truth, given = _losses(places, "classes").astype(np.intp), np.asarray(chances, dtype=np.float64)
    if given.ndim != 2 or len(given) != len(truth) or not np.isfinite(given).all():
        raise Invalid(f"there must be a finite probability for each class of each row, not {list(given.shape)}")
    return truth, given


def _happened(truth: NDArray[np.intp], given: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability given to what happened."""
    told: NDArray[np.float64] = given[np.arange(len(truth)), np.maximum(truth, 0)]
    return np.where(truth < 0, 0.0, told)


def _scored(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    truth, chance = _losses(labels, "labels"), _losses(scores, "scores")
    if truth.shape != chance.shape or not truth.size:
        raise Invalid(f"there must be one score per label: {truth.size} labels, {chance.size} scores")
    if not np.isin(truth, (0.0, 1.0)).all() or chance.min() < 0 or chance.max() > 1:
        raise Invalid("labels must be 0 or 1 and scores from 0 to 1")
    return truth, chance
