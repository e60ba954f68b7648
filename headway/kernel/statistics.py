"""Intervals for what is counted: for one look (`wilson`, `mean_interval`), and for looking again after every row.

A decision that may stop a rollout at any moment looks many times; an interval for one look would then be wrong far
more often than `alpha`. `bernoulli_sequence` and `student_sequence` are always valid: the chance that the truth is
*ever* outside, at any of the looks, is at most `alpha`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

from headway.errors import Invalid
from headway.kernel.distributions import log_beta, normal_quantile, student_t_quantile
from headway.kernel.records import Value

UNBOUNDED = sys.float_info.max
"""The end of an interval that knows nothing; JSON has no infinity."""
_PRIOR = 0.5


class Interval(Value):
    """From `low` to `high`, both included; `level` is the coverage that is promised, such as 0.95."""

    low: float
    high: float
    level: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(successes: int, n: int, alpha: float = 0.05) -> Interval:
    """The share behind `successes` of `n`, for one look (Wilson 1927); [0, 1] when nothing was counted."""
    _check_counts(successes, n, alpha)
    if n == 0:
        return Interval(low=0.0, high=1.0, level=1 - alpha)
    z = normal_quantile(1 - alpha / 2)
    share, spread = successes / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(low=low, high=high, level=1 - alpha)


def mean_interval(n: int, total: float, total_of_squares: float, alpha: float = 0.05) -> Interval:
    """The mean of independent values, for one look, by Student's t; unbounded below two values."""
    _check_counts(0, n, alpha)
    if n < 2:
        return _unknown(alpha)
    half = student_t_quantile(1 - alpha / 2, n - 1) * _deviation(n, total, total_of_squares) / math.sqrt(n)
    return Interval(low=total / n - half, high=total / n + half, level=1 - alpha)


def clustered_interval(groups: Sequence[tuple[int, float]], alpha: float = 0.05) -> Interval:
    """The mean over all values of groups (count, total) that are independent of each other, while the values inside one
    resemble each other: a ratio estimate with Student's t on groups (Cochran 1977, 6.4); unbounded below two groups."""
    n, counted = sum(count for count, _ in groups), len(groups)
    _check_counts(0, n, alpha)
    if counted < 2 or n == 0:
        return _unknown(alpha)
    mean = math.fsum(total for _, total in groups) / n
    spread = math.fsum((total - mean * count) ** 2 for count, total in groups)
    error = math.sqrt(counted / (counted - 1) * spread) / n
    half = student_t_quantile(1 - alpha / 2, counted - 1) * error
    return Interval(low=mean - half, high=mean + half, level=1 - alpha)


def bernoulli_sequence(successes: int, n: int, alpha: float = 0.05) -> Interval:
    """The share behind `successes` of `n`, valid at every n at once, without approximation.

    Every share p at which the beta(1/2, 1/2) mixture of likelihood ratios stays below 1/alpha (Robbins 1970): that
    ratio is a martingale under p, and by Ville's inequality it ever reaches 1/alpha with probability alpha at most.
    """
    _check_counts(successes, n, alpha)
    mixture = log_beta(_PRIOR + successes, _PRIOR + n - successes) - log_beta(_PRIOR, _PRIOR)

    def excluded(share: float) -> bool:
        return mixture - _log_likelihood(successes, n, share) >= -math.log(alpha)

    best = successes / n if n else 0.5
    low = 0.0 if not excluded(0.0) else _edge(excluded, 0.0, best)
    high = 1.0 if not excluded(1.0) else _edge(excluded, 1.0, best)
    return Interval(low=low, high=high, level=1 - alpha)


def student_sequence(values: Sequence[float], alpha: float = 0.05, effect: float = 1.0) -> Interval:
    """The mean of independent normal values of unknown spread, valid at every number of values at once.

    Every mean at which the t likelihood ratio, mixed over effects (mean over standard deviation) from a normal
    distribution with standard deviation `effect`, stays below 1/alpha: that ratio is a martingale, exactly and from
    the second value on (Wang and Ramdas 2023, arXiv 2310.03722, after Lai 1976). A small `effect` tells small
    differences from many values, a large one large differences from few. Unbounded while no values, however far out,
    would do: below 5 at alpha 0.05 and effect 1, below 3 at effect 10. Values that are all the same are their mean's
    bounds on both sides once enough would do. Each end alone is wrong with probability about alpha / 2.
    """
    n = len(values)
    _check_counts(0, n, alpha)
    if not effect > 0:
        raise Invalid(f"effect must be above 0, not {effect}")
    known = 1 + n * effect * effect
    least = (n - 1) * math.log(known) + 2 * math.log(alpha)
    if n < 2 or least <= 0:
        return _unknown(alpha)
    mean = math.fsum(values) / n
    squares = math.fsum((value - mean) ** 2 for value in values)
    growth = (math.log(known) - 2 * math.log(alpha)) / n
    half = math.sqrt(math.expm1(growth) / -math.expm1(growth - math.log(known)) * squares / n)
    return Interval(low=mean - half, high=mean + half, level=1 - alpha)


def _unknown(alpha: float) -> Interval:
    return Interval(low=-UNBOUNDED, high=UNBOUNDED, level=1 - alpha)


def _deviation(n: int, total: float, total_of_squares: float) -> float:
    """The sample standard deviation; 0 where the sums leave nothing but rounding."""
    squares = total_of_squares - total * total / n
    return math.sqrt(squares / (n - 1)) if squares > 1e-14 * total_of_squares else 0.0


def _log_likelihood(successes: int, n: int, share: float) -> float:
    failures = n - successes
    if (successes and share <= 0) or (failures and share >= 1):
        return -math.inf
    return (successes * math.log(share) if successes else 0.0) + (failures * math.log1p(-share) if failures else 0.0)


def _edge(excluded: Callable[[float], bool], outside: float, inside: float) -> float:
    """The outer side of the place between `outside` and `inside` where `excluded` stops."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _check_counts(successes: int, n: int, alpha: float) -> None:
    if not 0 <= successes <= n:
        raise Invalid(f"successes must be from 0 to n, not {successes} of {n}")
    if not 0 < alpha < 1:
        raise Invalid(f"alpha must be above 0 and below 1, not {alpha}")
