"""Too many values out of the contract are shown, and no more than are tolerated raise no alarm."""

from __future__ import annotations

import random

import pytest

from headway.kernel.distributions import binomial_tail
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector
from headway.lifecycle.monitors.skew import SkewedDay, SkewRule, judge_skew

RULE = SkewRule()


def day(skewed: int, rows: int = 1000) -> SkewedDay:
    return SkewedDay(rows=rows, skewed=skewed, columns={"km": skewed})


def days_until_alarm(rate: float, tolerated: float, most: int, seed: int) -> int | None:
    chance, detector = random.Random(seed), Detector()
    for number in range(most):
        skewed = sum(chance.random() < rate for _ in range(500))
        judged = judge_skew(day(skewed, 500), tolerated, RULE, detector)
        detector = judged.detector
        if judged.outcome is Outcome.FAIL:
            return number
    return None


def test_two_years_at_what_is_tolerated_raise_no_alarm() -> None:
    assert [days_until_alarm(0.02, 0.02, 730, seed) for seed in range(6)].count(None) >= 5


@pytest.mark.parametrize(("rate", "most"), [(0.03, 25), (0.05, 2), (0.5, 0)])
def test_more_than_is_tolerated_is_shown_soon(rate: float, most: int) -> None:
    found = [days_until_alarm(rate, 0.02, 60, seed) for seed in range(5)]
    assert all(each is not None and each <= most for each in found), found


@pytest.mark.parametrize(
    ("skewed", "tolerated", "outcome"),
    [
        (0, 0.0, Outcome.PASS), (1, 0.0, Outcome.FAIL), (1000, 0.0, Outcome.FAIL), (0, 0.01, Outcome.PASS),
        (10, 0.01, Outcome.PASS), (20, 0.01, Outcome.PASS), (100, 0.01, Outcome.FAIL), (1000, 0.999, Outcome.PASS),
    ],
)  # fmt: skip
def test_one_day(skewed: int, tolerated: float, outcome: Outcome) -> None:
    judged = judge_skew(day(skewed), tolerated, RULE)
    assert judged.outcome is outcome
    assert judged.p == pytest.approx(max(binomial_tail(skewed, 1000, tolerated), 1e-300))
    assert f"{tolerated:.2%} are tolerated" in judged.reason
    assert "by column: km" in judged.reason


def test_a_day_without_rows_says_nothing() -> None:
    before = judge_skew(day(15), 0.01, RULE).detector
    judged = judge_skew(SkewedDay(rows=0, skewed=0), 0.01, RULE, before)
    assert (judged.outcome, judged.detector, judged.p) == (Outcome.UNPROVEN, before, None)
