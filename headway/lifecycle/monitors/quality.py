"""Quality: are today's labelled predictions worse than the held-out days the gate saw, given how far those stray?

The mean loss of a day is held against the mean losses of the held-out days by the same yardstick as drift is, but to
one side: only worse counts. Evidence is added up over the days by the same detector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from headway.kernel.records import Value
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector, advance, evidence_of
from headway.lifecycle.monitors.statistic import Measure, Point, Statistic, Yardstick, fit


class QualityRule(Value):
    """When realised quality counts as lost."""

    floor: Annotated[float, Meta(ge=0)] = 0.05
    """A rise of the mean loss below this is not material, in standard deviations of one prediction's loss."""
    min_labels: Annotated[int, Meta(ge=2)] = 100
    min_days: Annotated[int, Meta(ge=4)] = 20
    arl: Annotated[float, Meta(gt=1)] = 3650.0
    """Quiet days until a false alarm, on average at least."""


class DayLoss(Value):
    """Sums of the loss over one day's labelled predictions."""

    day: str
    n: int
    loss: float
    loss_squares: float


class QualityJudgement(Value):
    outcome: Outcome
    reason: str
    labels: int
    detector: Detector
    limit: float
    p: float | None = None
    expected: float | None = None
    mean: float | None = None


def judge_quality(
    day: DayLoss, reference: Sequence[DayLoss], rule: QualityRule, detector: Detector | None = None
) -> QualityJudgement:
    """Hold one day against the held-out days; `detector` is what the judgement of the day before returned.

    Unproven, leaving the detector as it was, with too few labels or too few held-out days.
    """
    detector = detector or Detector()
    kept = [one for one in reference if one.n >= rule.min_labels]
    judged = QualityJudgement(outcome=Outcome.UNPROVEN, reason="", labels=day.n, detector=detector, limit=rule.arl)
    if len(kept) < rule.min_days:
        return judged.but(reason=f"{len(kept)} held-out days with {rule.min_labels} rows; it takes {rule.min_days}")
    if day.n < rule.min_labels:
        return judged.but(reason=f"{day.n} labels for this day; it takes {rule.min_labels}")
    statistic = _fitted(kept)
    scale, mean = statistic.yardstick.scale, day.loss / day.n
    p = _worse(statistic, mean, day.n, rule.floor)
    gain = evidence_of(p) ** (1 / statistic.inflation)
    after = advance(detector, {"loss": gain}, rule.arl, columns=["loss"])
    lost = after.total >= rule.arl
    said = "quality is lost" if lost else "quality holds"
    expected = statistic.yardstick.centre + statistic.mean * scale
    return judged.but(
        outcome=Outcome.FAIL if lost else Outcome.PASS,
        reason=f"{said}: mean loss {mean:.4f} on {day.n} labels, expected {expected:.4f}; "
        f"evidence {after.total:.3g} of {rule.arl:g}",
        detector=after,
        p=p,
        expected=expected,
        mean=mean,
    )


def _fitted(days: Sequence[DayLoss]) -> Statistic:
    n, total = sum(day.n for day in days), math.fsum(day.loss for day in days)
    centre = total / n
    variance = max(math.fsum(day.loss_squares for day in days) / n - centre**2, 0.0)
    scale = math.sqrt(variance) or 1.0
    yardstick = Yardstick(column="loss", measure=Measure.MEAN, label="mean loss", centre=centre, scale=scale)
    points = [Point(at=(day.loss / day.n - centre) / scale, n=day.n) for day in days]
    return fit(yardstick, points, row_variance=1.0)


def _worse(statistic: Statistic, mean: float, n: int, floor: float) -> float:
    """The one-sided p value: half of the two-sided one on the side of more loss."""
    at = (mean - statistic.yardstick.centre) / statistic.yardstick.scale
    if at <= statistic.mean:
        return 1.0
    p = statistic.p(Point(at=at, n=n), floor) / 2
    return max(p, 1 / (statistic.windows + 1) ** 2)
