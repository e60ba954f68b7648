"""Distribution functions in plain Python, so that the control plane needs neither numpy nor scipy."""

from __future__ import annotations

import math
import sys
from statistics import NormalDist

from headway.errors import Invalid

_NORMAL = NormalDist()
_NEARLY_NORMAL = 1e7
"""Above this many degrees of freedom the normal distribution stands in: its relative error is about t^4 / (4 df)."""
_TINY = 1e-300


def normal_quantile(probability: float) -> float:
    """The z with P(Z <= z) = `probability`; raises `Invalid` outside (0, 1)."""
    _within_zero_and_one(probability)
    return _NORMAL.inv_cdf(probability)


def student_t_tail(t: float, df: float) -> float:
    """P(T > t), correct in relative terms also far out; `df` > 0 may be fractional or infinite."""
    if not df > 0:
        raise Invalid(f"Student's t needs degrees of freedom above 0, not {df}")
    if t < 0:
        return 1.0 - student_t_tail(-t, df)
    if df > _NEARLY_NORMAL:
        return math.erfc(t / math.sqrt(2)) / 2
    square = t * t
    if square < 3:  # near the middle the complement keeps its digits
        return 0.5 - 0.5 * incomplete_beta(0.5, df / 2, square / (df + square))
    return 0.5 * incomplete_beta(df / 2, 0.5, df / (df + square))


def student_t_cdf(t: float, df: float) -> float:
    """P(T <= t)."""
    return student_t_tail(-t, df)


def student_t_quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = `probability`; raises `Invalid` outside (0, 1)."""
    _within_zero_and_one(probability)
    if probability < 0.5:
        return -_upper_quantile(probability, df)
    return _upper_quantile(1.0 - probability, df)


def _upper_quantile(tail: float, df: float) -> float:
    """The root of log P(T > t) - log `tail` over t, by the Illinois variant of false position."""

    def above(t: float) -> float:
        return math.log(max(student_t_tail(t, df), sys.float_info.min)) - math.log(tail)

    low, high = 0.0, 1.0
    at_low, at_high = above(low), above(high)
    while at_high > 0:
        low, at_low, high = high, at_high, 2 * high
        at_high = above(high)
    kept = 0
    for _ in range(100):
        middle = low + (high - low) * at_low / (at_low - at_high)
        at_middle = above(middle)
        if abs(at_middle) < 1e-14 or not low < middle < high:
            return middle
        if at_middle > 0:
            low, at_low = middle, at_middle
            at_high, kept = (at_high / 2 if kept > 0 else at_high), 1
        else:
            high, at_high = middle, at_middle
            at_low, kept = (at_low / 2 if kept < 0 else at_low), -1
    return (low + high) / 2


def binomial_tail(successes: int, n: int, share: float) -> float:
    """P(X >= `successes`) for X binomial(`n`, `share`): a regularised incomplete beta (DLMF 8.17.5)."""
    if successes <= 0:
        return 1.0
    if successes > n:
        return 0.0
    return incomplete_beta(successes, n - successes + 1, min(max(share, 0.0), 1.0))


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised I_x(a, b) for a, b > 0 and 0 <= x <= 1, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    log_front = a * math.log(x) + b * math.log1p(-x) - log_beta(a, b)
    return math.exp(log_front) / a / _continued_fraction(a, b, x)


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)), evaluated forwards by Lentz's method."""
    value = c = 1.0
    d = 0.0
    step, place = 0.0, 0
    while abs(step - 1.0) > 1e-15 and place < 100_000:
        place += 1
        m = place // 2
        if place % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / (1.0 + coefficient * d or _TINY)
        c = 1.0 + coefficient / c or _TINY
        step = c * d
        value *= step
    return value


def _within_zero_and_one(probability: float) -> None:
    if not 0 < probability < 1:
        raise Invalid(f"a probability must be above 0 and below 1, not {probability}")
