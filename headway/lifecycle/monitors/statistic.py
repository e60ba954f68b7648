"""One statistic of one column, and what it does from window to window while nothing has changed.

Rows of one day resemble each other (one Monday, one storm), so a test that takes them for independent raises an
alarm on every quiet day. The yardstick here is the spread of the reference's own windows: a Student t prediction
interval, widened for windows that resemble the one before them, and never narrower than sampling `n` rows allows.

Every statistic is measured on a scale where 1 is about one standard deviation of a row in the reference, and where
sampling n rows has a variance of about 1/n: the mean over the reference's deviation, the logarithm of the deviation,
and 2 arcsin(sqrt(share)), whose differences are Cohen's h. Unlike distances between distributions these do not
saturate: a day of the reference is far from the whole of it already, and July must still be able to be further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from headway.kernel.distributions import binomial_tail, student_t_quantile, student_t_tail
from headway.kernel.records import Value
from headway.lifecycle.datasets.profile import NumericProfile, Profile

_LEAST_SPREAD = 0.01
"""Added, as the other side of a right angle, to a deviation in units of the reference's, so that a window of equal
values has a logarithm."""
_LEAST_ERROR = 1e-6
_MOST_LOGARITHM = 350.0
_MOST_AUTOCORRELATION = 0.9


class Measure(StrEnum):
    MEAN = "mean"
    DEVIATION = "standard deviation"
    NULLS = "share of nulls"
    UNSEEN = "share never seen in the reference"
    LEVEL = "share of"


class Yardstick(Value):
    """How to measure: which column and cells; `centre` and `scale` are the reference's mean and deviation."""

    column: str
    measure: Measure
    label: str
    cells: tuple[int, ...] = ()
    centre: float = 0.0
    scale: float = 1.0


class Point(Value):
    """One window on a yardstick: `at` on its scale, from `n` rows; for shares, `hits` of them."""

    at: float
    n: int
    hits: int | None = None


class Statistic(Value):
    """A yardstick with the null distribution of its windows: their number, mean and central power sums."""

    yardstick: Yardstick
    windows: int
    mean: float
    sums: tuple[float, float, float]
    """Of the 2nd, 3rd and 4th powers of the deviations from `mean`."""
    autocorrelation: float
    low: float
    high: float
    usual_rows: float
    """Harmonic mean of the rows of a window of the reference."""
    sampling: float
    """The variance that sampling alone gave a window of so many rows."""
    row_variance: float
    """A smaller window's variance grows with this over its rows."""
    hits: int = 0
    rows: int = 0

    @property
    def inflation(self) -> float:
        """How many windows in a row count as one, for a first-order process with this autocorrelation."""
        return (1 + self.autocorrelation) / (1 - self.autocorrelation)

    @property
    def between(self) -> float:
        """The variance of a window, unbiased by autocorrelation."""
        return self.sums[0] / max(self.windows - self.inflation, 1.0)

    @property
    def df(self) -> float:
        """Degrees of freedom: fewer when windows resemble their neighbours (Bayley and Hammersley 1946), or when they
        stray more than sampling does with a kurtosis above normal; Student's t has excess kurtosis 6 / (df - 4)."""
        square = self.autocorrelation**2
        df = self.windows * (1 - square) / (1 + square) - 1
        excess = self.windows * self.sums[2] / self.sums[0] ** 2 - 3 if self.between > self.sampling else 0.0
        return max(2.0, min(df, 4 + 6 / excess if excess > 0 else math.inf))

    def error(self, n: int) -> float:
        """The standard error of predicting a window of `n` rows."""
        usual = max(self.between, self.sampling)
        more = self.row_variance * max(0.0, 1 / n - 1 / self.usual_rows)
        return max(math.sqrt((usual + more) * (1 + self.inflation / self.windows)), _LEAST_ERROR)

    def half_width(self, n: int, alpha: float, floor: float) -> float:
        """How far from `mean` a window of `n` rows may lie at level `alpha`."""
        return floor + student_t_quantile(1 - alpha / 2, self.df) * self.error(n)

    def p(self, point: Point, floor: float) -> float:
        """For the null that the window's truth is within `floor` of the reference's: materiality is part of the test.

        A point in the range of the reference's own windows is no rarer than its rank, whatever the t distribution
        says, and a share never rarer than the exact binomial allows.
        """
        beyond = abs(point.at - self.mean) - floor
        if beyond <= 0:
            return 1.0
        p = min(1.0, 2 * student_t_tail(beyond / self.error(point.n), self.df))
        if self.low <= point.at <= self.high:
            p = max(p, 2 / (self.windows + 1))
        return p if point.hits is None else max(p, self._binomial_p(point.hits, point.n, floor))

    def _binomial_p(self, hits: int, n: int, floor: float) -> float:
        pooled = share_scale(self.hits + hits, self.rows + n)
        if share_scale(hits, n) > pooled:
            tail = binomial_tail(hits, n, share_of(pooled + floor))
        else:
            tail = binomial_tail(n - hits, n, 1 - share_of(pooled - floor))
        return min(1.0, 2 * tail)

    def without(self, point: Point) -> Statistic:
        """The same from all windows but this one."""
        apart, left = point.at - self.mean, self.windows - 1
        second, third, fourth = (total - apart**power for total, power in zip(self.sums, (2, 3, 4), strict=True))
        shift = -apart / left
        sums = (
            max(0.0, second - left * shift**2),
            third - 3 * shift * second + 2 * left * shift**3,
            max(0.0, fourth - 4 * shift * third + 6 * shift**2 * second - 3 * left * shift**4),
        )
        return self.but(
            windows=left, mean=self.mean + shift, sums=sums, hits=self.hits - (point.hits or 0),
            rows=self.rows - point.n,
            low=math.nextafter(self.low, math.inf) if point.at <= self.low else self.low,
            high=math.nextafter(self.high, -math.inf) if point.at >= self.high else self.high,
        )  # fmt: skip


def fit(yardstick: Yardstick, points: Sequence[Point], row_variance: float) -> Statistic:
    """The null distribution behind the reference's windows, in order of time; at least four of them.

    `row_variance` is what sampling gives one row on this scale. For a deviation it depends on a kurtosis that profiles
    do not keep, so there the whole spread between windows is taken to shrink with their rows, as it would at worst.
    """
    ats = [point.at for point in points]
    windows = len(ats)
    mean = math.fsum(ats) / windows
    apart = [at - mean for at in ats]
    sums = (math.fsum(d**2 for d in apart), math.fsum(d**3 for d in apart), math.fsum(d**4 for d in apart))
    lagged = math.fsum(a * b for a, b in pairwise(apart)) / sums[0] if sums[0] > 0 else 0.0
    unbiased = lagged + (1 + 4 * lagged) / windows if sums[0] > 0 else 0.0  # Marriott and Pope (1954)
    usual_rows = windows / math.fsum(1 / point.n for point in points)
    statistic = Statistic(
        yardstick=yardstick, windows=windows, mean=mean, sums=sums, low=min(ats), high=max(ats),
        autocorrelation=min(max(unbiased, 0.0), _MOST_AUTOCORRELATION),
        usual_rows=usual_rows, sampling=row_variance / usual_rows, row_variance=row_variance,
        hits=sum(point.hits or 0 for point in points), rows=sum(point.n for point in points),
    )  # fmt: skip
    if yardstick.measure is not Measure.DEVIATION:
        return statistic
    return statistic.but(row_variance=max(row_variance, statistic.between * usual_rows))


def measure(yardstick: Yardstick, window: Profile) -> Point | None:
    """Where `window` lies on the yardstick; None when it holds no value to measure."""
    column = window.columns[yardstick.column]
    numeric = column if isinstance(column, NumericProfile) else None
    if yardstick.measure is Measure.NULLS:
        hits, n = column.nulls + (numeric.non_finite if numeric else 0), window.rows
    else:
        hits, n = sum(column.counts[cell] for cell in yardstick.cells), column.n
    if n == 0:
        return None
    if numeric and yardstick.measure is Measure.MEAN:
        return Point(at=(numeric.mean - yardstick.centre) / yardstick.scale, n=n)
    if numeric and yardstick.measure is Measure.DEVIATION:
        return Point(at=math.log(math.hypot(math.sqrt(numeric.m2 / n) / yardstick.scale, _LEAST_SPREAD)), n=n)
    return Point(at=share_scale(hits, n), n=n, hits=hits)


def in_units(yardstick: Yardstick, at: float) -> float:
    """Back from the scale of the yardstick to the units of the column, or to a share of 0 to 1."""
    if yardstick.measure is Measure.MEAN:
        return yardstick.centre + yardstick.scale * at
    if yardstick.measure is Measure.DEVIATION:
        ratio = math.exp(min(at, _MOST_LOGARITHM))
        return yardstick.scale * math.sqrt(max(0.0, ratio - _LEAST_SPREAD)) * math.sqrt(ratio + _LEAST_SPREAD)
    return share_of(at)


def share_scale(hits: int, n: int) -> float:
    return 2 * math.asin(math.sqrt(hits / n))


def share_of(at: float) -> float:
    return math.sin(min(max(at, 0.0), math.pi) / 2) ** 2
