"""Drift: does this window still look like the reference, given how far the reference's own windows stray?

A p value for the window is turned into evidence and added up over windows by a Shiryaev-Roberts e-detector (Shin,
Ramdas and Rinaldo 2022), so that one odd day raises no alarm and a year of quiet days hardly ever does. The
guarantee is exact for independent windows with valid p values; measured false alarms for others are in
`docs/statistics.md`.
"""

from __future__ import annotations

import math

from headway.errors import Invalid
from headway.kernel.records import Value
from headway.kernel.statistics import Interval
from headway.lifecycle.datasets.profile import Profile
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.reference import DriftReference, together
from headway.lifecycle.monitors.statistic import Point, Statistic, in_units, measure

_CEILING = 10.0
"""Evidence stops at this many times the limit, so that an alarm ends a few windows after the drift does."""


class Detector(Value):
    """Carried from window to window: evidence so far, and how many windows gave it."""

    evidence: float = 0.0
    windows: int = 0


class ColumnDrift(Value):
    """The most surprising statistic of one column, in the column's own units.

    `band` is where the reference's windows let it lie at level 1 - alpha over all columns, materiality included;
    `effect` is in standard deviations of a row (Cohen's h for shares); `p` is adjusted for all columns.
    """

    column: str
    statistic: str
    value: float
    expected: float
    band: Interval
    effect: float
    p: float
    flagged: bool


class DriftJudgement(Value):
    """`fail` is drift: the detector's evidence has reached `limit`. `columns` come most surprising first."""

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
    judged = DriftJudgement(
        outcome=Outcome.UNPROVEN, reason="", rows=window.rows, detector=detector, limit=rule.arl
    )  # fmt: skip
    if not reference.statistics:
        return judged.but(
            reason=f"{reference.windows} reference windows; it takes {rule.min_windows} to know their spread"
        )
    if window.rows < rule.min_rows:
        return judged.but(reason=f"{window.rows} rows in this window; it takes {rule.min_rows}")
    columns = _columns(window, reference)
    if not columns:
        return judged.but(reason="no column of this window holds a value that can be judged")
    p = min(column.p for column in columns)
    after = advance(detector, p, rule.arl)
    drifted = after.evidence >= rule.arl
    return judged.but(
        outcome=Outcome.FAIL if drifted else Outcome.PASS, reason=_reason(drifted, columns, after, rule.arl),
        detector=after, p=p, columns=columns,
    )  # fmt: skip


def advance(detector: Detector, p: float, arl: float) -> Detector:
    """One Shiryaev-Roberts step: R' = (R + 1) e(p)."""
    evidence = min((detector.evidence + 1) * evidence_of(p), _CEILING * arl)
    return Detector(evidence=evidence, windows=detector.windows + 1)


def evidence_of(p: float) -> float:
    """The e-value of a p value: the integral over k of the calibrators k p^(k-1) (Vovk and Wang 2021)."""
    if p > 0.9999:
        return 0.5  # the limit at p = 1, where the closed form is 0 / 0
    log = math.log(p)
    return (1 - p + p * log) / (p * log * log)


def _columns(window: Profile, reference: DriftReference) -> tuple[ColumnDrift, ...]:
    ps: dict[str, list[float]] = {}
    worst: dict[str, tuple[float, float, Statistic, Point]] = {}
    for statistic in reference.statistics:
        point = measure(statistic.yardstick, window)
        if point is None:
            continue
        name, p = statistic.yardstick.column, statistic.p(point, reference.rule.floor)
        ps.setdefault(name, []).append(p)
        rank = (p, -abs(point.at - statistic.mean) / max(statistic.error(point.n), 1e-300))
        if name not in worst or rank < worst[name][:2]:
            worst[name] = (*rank, statistic, point)
    found = [
        _column(statistic, point, reference, p, reference.rule.alpha / len(ps) / len(ps[name]))
        for name, p in together(ps).items()
        for _, _, statistic, point in [worst[name]]
    ]
    return tuple(sorted(found, key=lambda column: (column.p, -abs(column.effect))))


def _column(statistic: Statistic, point: Point, reference: DriftReference, p: float, share: float) -> ColumnDrift:
    rule, yardstick = reference.rule, statistic.yardstick
    half = statistic.half_width(point.n, share, rule.floor)
    adjusted = reference.calibrated(p)
    return ColumnDrift(
        column=yardstick.column, statistic=yardstick.label, value=in_units(yardstick, point.at),
        expected=in_units(yardstick, statistic.mean), effect=point.at - statistic.mean, p=adjusted,
        band=Interval(
            low=in_units(yardstick, statistic.mean - half), high=in_units(yardstick, statistic.mean + half),
            level=1 - rule.alpha,
        ),
        flagged=adjusted <= rule.alpha,
    )  # fmt: skip


def _reason(drifted: bool, columns: tuple[ColumnDrift, ...], detector: Detector, limit: float) -> str:
    flagged = [column for column in columns if column.flagged]
    told = "; ".join(
        f"{column.statistic} of {column.column} is {column.value:.4g}, expected {column.expected:.4g} "
        f"({column.band.low:.4g} to {column.band.high:.4g})"
        for column in (flagged or columns)[:3]
    )
    beyond = f"{len(flagged)} of {len(columns)} columns outside their band: {told}" if flagged else f"nearest: {told}"
    return f"{'drift' if drifted else 'no drift'}: evidence {detector.evidence:.3g} of {limit:.4g}; {beyond}"
