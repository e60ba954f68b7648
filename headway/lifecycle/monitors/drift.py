"""Drift: does this window still look like the reference, given how far the reference's own windows stray?

Each column's p value becomes evidence, added up from window to window by a Shiryaev-Roberts e-detector (Shin, Ramdas
and Rinaldo 2022), and the mean over the columns is held against the limit: multiplicity is paid once, however the
columns depend on each other. One odd day raises no alarm, and a year of quiet days hardly ever does. The bound on
false alarms is a theorem for independent windows; where windows resemble the ones before, evidence counts by the
effective number of windows, which is a correction, not a theorem: `benchmarks/drift.py` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from headway.errors import Invalid
from headway.kernel.records import Value
from headway.kernel.statistics import Interval
from headway.lifecycle.datasets.profile import Profile
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.reference import DriftReference
from headway.lifecycle.monitors.statistic import Point, Statistic, in_units, measure

_CEILING = 2.0
"""Evidence stops at this many times the limit, so that an alarm ends soon after the drift does."""


class Detector(Value):
    """Carried from window to window: the evidence so far by column, and how many windows gave it."""

    evidence: dict[str, float] = {}
    windows: int = 0

    @property
    def total(self) -> float:
        return math.fsum(self.evidence.values()) / max(len(self.evidence), 1)


class ColumnDrift(Value):
    """The most surprising statistic of one column, in the column's own units.

    `band` is where the reference's windows let it lie at level 1 - alpha over all columns, materiality included;
    `effect` is in standard deviations of a row (Cohen's h for shares); `p` is adjusted for all columns and flagged at
    alpha; `evidence` is the column's own, over all windows so far.
    """

    column: str
    statistic: str
    value: float
    expected: float
    band: Interval
    effect: float
    p: float
    flagged: bool
    evidence: float


class DriftJudgement(Value):
    """`fail` is drift: the detector's total has reached `limit`. `p` is the smallest of the columns'.

    `columns` come with most evidence first.
    """

    outcome: Outcome
    reason: str
    rows: int
    detector: Detector
    limit: float
    p: float | None = None
    columns: tuple[ColumnDrift, ...] = ()


def judge(window: Profile, reference: DriftReference, detector: Detector | None = None) -> DriftJudgement:
    """Hold `window` against `reference`; `detector` is what the judgement of the window before returned.

    Unproven, leaving the detector as it was, when there is too little to judge by. Raises `Invalid` for a window over
    another layout.
    """
    rule, detector = reference.rule, detector or Detector()
    if window.layout != reference.layout:
        raise Invalid("the window was profiled over another layout; profile it with the reference's layout")
    judged = DriftJudgement(outcome=Outcome.UNPROVEN, reason="", rows=window.rows, detector=detector, limit=rule.arl)
    if not reference.statistics:
        return judged.but(
            reason=f"{reference.windows} reference windows have {rule.min_rows} rows, {reference.skipped} have fewer; "
            f"it takes {rule.min_windows} to know their spread"
        )
    if window.rows < rule.min_rows:
        return judged.but(reason=f"{window.rows} rows in this window; it takes {rule.min_rows}")
    worst = _worst(window, reference)
    if not worst:
        return judged.but(reason="no column of this window holds a value that can be judged")
    gains = {name: evidence_of(p) ** (1 / statistic.inflation) for name, (statistic, _, p) in worst.items()}
    after = advance(detector, gains, rule.arl, columns=reference.quiet)
    columns = tuple(
        sorted(
            (_column(*worst[name], reference, after.evidence[name]) for name in worst),
            key=lambda column: (-column.evidence, column.p),
        )
    )
    drifted = after.total >= rule.arl
    return judged.but(
        outcome=Outcome.FAIL if drifted else Outcome.PASS, reason=_reason(drifted, columns, after, rule.arl),
        detector=after, p=min(column.p for column in columns), columns=columns,
    )  # fmt: skip


def advance(detector: Detector, gains: Mapping[str, float], arl: float, *, columns: Iterable[str]) -> Detector:
    """One Shiryaev-Roberts step R' = (R + 1) e in each of `columns`; one without a gain stays where it is."""
    evidence = {}
    for name in columns:
        before = detector.evidence.get(name, 0.0)
        evidence[name] = (before + 1) * gains[name] if name in gains else before
    after = Detector(evidence=evidence, windows=detector.windows + 1)
    excess = after.total / (_CEILING * arl)
    return after if excess <= 1 else after.but(evidence={name: value / excess for name, value in evidence.items()})


def evidence_of(p: float) -> float:
    """The e-value of a p value: the integral over k of the calibrators k p^(k-1) (Vovk and Wang 2021)."""
    if p > 0.9999:
        return 0.5  # the limit at p = 1, where the closed form is 0 / 0
    log = math.log(p)
    return (1 - p + p * log) / (p * log * log)


def _worst(window: Profile, reference: DriftReference) -> dict[str, tuple[Statistic, Point, float]]:
    """By column: its most surprising statistic, where the window lies on it, and one p for all its statistics."""
    found: dict[str, list[tuple[float, float, Statistic, Point]]] = {}
    for statistic in reference.statistics:
        point = measure(statistic.yardstick, window)
        if point:
            surprise = abs(point.at - statistic.mean) / statistic.error(point.n)
            p = statistic.p(point, reference.rule.floor)
            found.setdefault(statistic.yardstick.column, []).append((p, -surprise, statistic, point))
    worst = {}
    for name, all_of_column in found.items():
        _, _, statistic, point = min(all_of_column, key=lambda entry: entry[:2])
        worst[name] = (statistic, point, reference.p(name, [entry[0] for entry in all_of_column]))
    return worst


def _column(statistic: Statistic, point: Point, p: float, reference: DriftReference, evidence: float) -> ColumnDrift:
    rule, yardstick, columns = reference.rule, statistic.yardstick, len(reference.quiet)
    beside = sum(other.yardstick.column == yardstick.column for other in reference.statistics)
    half = statistic.half_width(point.n, rule.alpha / columns / beside, rule.floor)
    adjusted = min(1.0, columns * p)
    return ColumnDrift(
        column=yardstick.column, statistic=yardstick.label, value=in_units(yardstick, point.at),
        expected=in_units(yardstick, statistic.mean), effect=point.at - statistic.mean, p=adjusted,
        band=Interval(
            low=in_units(yardstick, statistic.mean - half), high=in_units(yardstick, statistic.mean + half),
            level=1 - rule.alpha,
        ),
        flagged=adjusted <= rule.alpha, evidence=evidence,
    )  # fmt: skip


def _reason(drifted: bool, columns: tuple[ColumnDrift, ...], detector: Detector, limit: float) -> str:
    told = "; ".join(
        f"{column.column}: {column.statistic} {column.value:.4g}, expected {column.expected:.4g} "
        f"({column.band.low:.4g} to {column.band.high:.4g})"
        for column in columns[:3]
    )
    flagged = sum(column.flagged for column in columns)
    return (
        f"{'drift' if drifted else 'no drift'}: evidence {detector.total:.3g} of {limit:.4g}, "
        f"{flagged} of {len(columns)} columns outside their band today; most by {told}"
    )
