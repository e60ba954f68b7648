"""Checks of the form that is served: does it answer as it should, and soon enough?"""

from __future__ import annotations

import numpy as np

from headway.engines.gates.trial import Trial
from headway.engines.models.scoring import feeds
from headway.errors import Invalid
from headway.kernel.records import digest
from headway.kernel.statistics import wilson
from headway.lifecycle.gates.names import LatencySettings, ParitySettings
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.models.records import Task

_SLOW_SHARE = 0.01
_WARMING_RUNS = 20
_TRIES = 3
_ROUNDING = 1e-6


def parity(trial: Trial, settings: ParitySettings) -> Finding:
    version = trial.version
    proof = version.parity
    if digest(trial.onnx) != version.blob:
        return Finding(outcome=Outcome.FAIL, reason="these bytes are not those of the model version")
    if proof is None and version.as_logged:
        return _as_logged(trial)
    if proof is None:
        return Finding(outcome=Outcome.UNPROVEN, reason="nobody compared the served form with the trained one")
    numbers = {
        "rows": proof.rows, "max_difference": proof.max_difference, "max_difference_allowed": settings.max_difference,
        "scored_rows": trial.held_out.frame.height,
    }  # fmt: skip
    if proof.rows < settings.min_rows:
        reason = f"the served form was compared with the trained one on {proof.rows} rows; it takes {settings.min_rows}"
        return Finding(outcome=Outcome.UNPROVEN, reason=reason, numbers=numbers)
    if proof.max_difference > settings.max_difference:
        reason = (
            f"the served form differs from the trained one by {proof.max_difference:.3g} in row {proof.worst_row} of "
            f"{proof.rows}, more than {settings.max_difference:g}"
        )
        return Finding(outcome=Outcome.FAIL, reason=reason, numbers=numbers)
    if fault := _fault(trial):
        return Finding(outcome=Outcome.FAIL, reason=fault, numbers=numbers)
    if not len(trial.scores):
        return Finding(outcome=Outcome.UNPROVEN, reason="there is no held-out row to score", numbers=numbers)
    scored = f"{len(trial.scores)} held-out rows get a finite score"
    reason = f"differs by {proof.max_difference:.2g} at most on {proof.rows} rows; {scored}"
    return Finding(outcome=Outcome.PASS, reason=reason, numbers=numbers)


def _as_logged(trial: Trial) -> Finding:
    """Nothing was converted: the digest is the proof, and what is left to see is that it scores."""
    rows = trial.held_out.frame.height
    numbers = {"scored_rows": rows}
    if fault := _fault(trial):
        return Finding(outcome=Outcome.FAIL, reason=fault, numbers=numbers)
    if not rows:
        return Finding(outcome=Outcome.UNPROVEN, reason="there is no held-out row to score", numbers=numbers)
    reason = f"what is served is byte by byte what was logged; {rows} held-out rows get a finite score"
    return Finding(outcome=Outcome.PASS, reason=reason, numbers=numbers)


def _fault(trial: Trial) -> str:
    """What is wrong with the served form as it is at hand, or nothing."""
    try:
        if trial.model.signature != trial.version.signature:
            return "the model file has another signature than the model version says"
        scores = trial.scores
    except Invalid as error:
        return str(error)
    wide = scores.reshape(len(scores), -1)
    strange = int((~np.isfinite(wide).all(axis=1)).sum())
    if strange:
        return f"{strange} of {len(scores)} held-out rows get a score that is not finite"
    outside = int(((wide < -_ROUNDING) | (wide > 1 + _ROUNDING)).any(axis=1).sum())
    if trial.version.task is not Task.REGRESSION and outside:
        return f"{outside} of {len(scores)} held-out rows get a score outside 0 to 1, which is no probability"
    return ""


def latency(trial: Trial, settings: LatencySettings) -> Finding:
    """Rows are scored one by one, each three times, of which the least counts: what else the machine does only adds."""
    frame = trial.held_out.frame
    if frame.is_empty():
        return Finding(outcome=Outcome.UNPROVEN, reason="there is no held-out row to score")
    times = _times_us(trial, settings.rows)
    slow = int((times > settings.budget_us).sum())
    share = wilson(slow, settings.rows, settings.alpha)
    p50, p99 = (float(value) for value in np.quantile(times, (0.5, 0.99)))
    numbers = {
        "rows": settings.rows, "p50_us": p50, "p99_us": p99, "budget_us": settings.budget_us, "slow": slow,
        "slow_share_low": share.low, "slow_share_high": share.high,
    }  # fmt: skip
    reason = f"p99 {p99:.0f} us (p50 {p50:.0f} us) of {settings.budget_us:g} us; {slow} of {settings.rows} rows slower"
    if share.high <= _SLOW_SHARE:
        return Finding(outcome=Outcome.PASS, reason=reason, numbers=numbers)
    outcome = Outcome.FAIL if share.low > _SLOW_SHARE else Outcome.UNPROVEN
    return Finding(outcome=outcome, reason=reason, numbers=numbers)


def _times_us(trial: Trial, rows: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    frame = trial.held_out.frame
    places = np.linspace(0, frame.height - 1, min(rows, frame.height)).astype(np.intp)
    whole = feeds(trial.model.signature, frame[places])
    singles = [{name: values[at : at + 1] for name, values in whole.items()} for at in range(len(places))]
    times = np.empty(rows)
    for at in range(-_WARMING_RUNS, rows):
        feed, tries = singles[at % len(singles)], []
        for _ in range(_TRIES):
            began = trial.timer_ns()
            trial.model.run(feed)
            tries.append(trial.timer_ns() - began)
        times[max(at, 0)] = min(tries) / 1000
    return times
