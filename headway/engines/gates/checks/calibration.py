"""Does it happen as often as the model says?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.engines.gates.checks.quality import too_few
from headway.engines.gates.trial import Trial
from headway.kernel.statistics import Interval
from headway.lifecycle.gates.names import CalibrationSettings
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.models.records import Task

_BINS = 10
_GROUPS = 50
"""Rows without days are dealt out to this many groups."""
_RESAMPLES, _SEED = 2000, 0

Floats = NDArray[np.float64]


def calibration(trial: Trial, settings: CalibrationSettings) -> Finding:
    if trial.version.task is Task.REGRESSION:
        return Finding(outcome=Outcome.UNPROVEN, reason="only probabilities can be calibrated; take this check out")
    if few := too_few(trial, settings.min_rows, settings.min_days):
        return Finding(outcome=Outcome.UNPROVEN, reason=few)
    scores, truth = trial.certainty
    if not np.isfinite(scores).all():
        return Finding(outcome=Outcome.UNPROVEN, reason="some scores are not finite; see the check `parity`")
    bins = _tenths(scores)
    groups = np.arange(len(scores)) % _GROUPS if trial.days is None else trial.days
    estimate, interval = expected_calibration_error(scores, truth, bins, groups, settings.alpha)
    numbers = {
        "ece": estimate, "low": interval.low, "high": interval.high, "level": interval.level, "n": len(scores),
        "independent": trial.unit, "max_ece": settings.max_ece, "bins": _told(scores, truth, bins),
    }  # fmt: skip
    reason = (
        f"expected calibration error {estimate:.4f} ({interval.low:.4f} to {interval.high:.4f}), "
        f"at most {settings.max_ece:g} allowed, on {len(scores)} rows"
    )
    if interval.high <= settings.max_ece:
        return Finding(outcome=Outcome.PASS, reason=reason, numbers=numbers)
    outcome = Outcome.FAIL if interval.low > settings.max_ece else Outcome.UNPROVEN
    return Finding(outcome=outcome, reason=reason, numbers=numbers)


def expected_calibration_error(
    scores: Floats, truth: Floats, bins: NDArray[np.intp], groups: NDArray[Any], alpha: float = 0.05
) -> tuple[float, Interval]:
    """The mean over rows of |mean score - mean label| of the row's bin, and its interval; arrays of shape [n].

    The estimate is too high by the noise in it, which has no sign: estimate and truth differ by at most the sum over
    bins of the noise's size (the triangle inequality). The interval is a quantile of that sum under a multiplier
    bootstrap over `groups`, so that rows of one day may resemble each other; it holds at least as often as it says.
    """
    places = np.unique(groups, return_inverse=True)[1]
    many, width = int(places.max()) + 1, int(bins.max()) + 1
    gaps = np.bincount(places * width + bins, scores - truth, minlength=many * width).reshape(many, width)
    whole = gaps.sum(axis=0) / len(scores)
    strayed = (gaps - np.bincount(places)[:, None] * whole) * math.sqrt(many / (many - 1)) / len(scores)
    signs = np.random.default_rng(_SEED).normal(size=(_RESAMPLES, many))
    margin = float(np.quantile(np.abs(signs @ strayed).sum(axis=1), 1 - alpha))
    estimate = float(np.abs(whole).sum())
    return estimate, Interval(low=max(0.0, estimate - margin), high=min(1.0, estimate + margin), level=1 - alpha)


def _tenths(scores: Floats) -> NDArray[np.intp]:
    """The bin of each score, from 0; as many rows in each as equal scores allow."""
    cuts = np.unique(np.quantile(scores, np.arange(1, _BINS) / _BINS))
    return np.unique(np.searchsorted(cuts, scores, side="right"), return_inverse=True)[1]


def _told(scores: Floats, truth: Floats, bins: NDArray[np.intp]) -> list[dict[str, Any]]:
    n = np.bincount(bins)
    said, happened = np.bincount(bins, scores) / n, np.bincount(bins, truth) / n
    rows = zip(n.tolist(), said.tolist(), happened.tolist(), strict=True)
    return [{"n": count, "mean_score": score, "mean_label": label} for count, score, label in rows]
