from __future__ import annotations

import random

from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector
from headway.lifecycle.monitors.quality import DayLoss, QualityRule, judge_quality

RULE = QualityRule()


def day(seed: int, rate: float = 0.2, n: int = 800, spread: float = 0.03) -> DayLoss:
    """A day of Brier losses of a constant score; the day's own rate strays by `spread` around `rate`."""
    chance = random.Random(seed)
    own = min(max(chance.gauss(rate, spread), 0.0), 1.0)
    losses = [(0.2 - (chance.random() < own)) ** 2 for _ in range(n)]
    return DayLoss(day=f"day {seed}", n=n, loss=sum(losses), loss_squares=sum(loss**2 for loss in losses))


REFERENCE = [day(seed) for seed in range(31)]


def days_until_alarm(rate: float, most: int, first_seed: int) -> int | None:
    detector = Detector()
    for number in range(most):
        judged = judge_quality(day(first_seed + number, rate), REFERENCE, RULE, detector)
        detector = judged.detector
        if judged.outcome is Outcome.FAIL:
            return number
    return None


def test_a_year_of_quiet_days_raises_no_alarm() -> None:
    alarms = [days_until_alarm(0.2, 365, 10_000 * seed) for seed in range(1, 6)]
    assert alarms.count(None) >= 4


def test_lost_quality_is_seen_within_days() -> None:
    delay = days_until_alarm(0.4, 30, 500_000)
    assert delay is not None
    assert delay <= 7


def test_better_days_raise_no_alarm() -> None:
    assert days_until_alarm(0.05, 60, 700_000) is None


def test_too_little_to_judge_by_is_unproven() -> None:
    few = judge_quality(day(1, n=50), REFERENCE, RULE)
    short = judge_quality(day(1), REFERENCE[:10], RULE)
    assert few.outcome is short.outcome is Outcome.UNPROVEN
    assert "100" in few.reason
    assert "20" in short.reason
    assert few.detector == Detector()
