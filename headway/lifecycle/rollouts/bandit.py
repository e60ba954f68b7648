"""A bandit's arithmetic: what labels say of each release, how likely each is the best, and the shares that follow.

Thompson sampling (Thompson 1933) gives a request to a release with the probability that it is the best of all. Here
that probability is worked out and becomes the shares, which stand until the next batch of labels: who is served by what
is then a matter of keys, as in every rollout, and nothing is drawn (Chapelle and Li 2011, on delay and batches).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import accumulate, pairwise

from headway.kernel.distributions import log_beta, student_t_cdf
from headway.kernel.records import Value
from headway.lifecycle.environments.records import Reward
from headway.lifecycle.rollouts.records import RewardDay

FEWEST = 20
"""With fewer labels of a release its posterior says next to nothing, and shares stay as they are."""
_REACH, _POINTS = 40.0, 120
"""The grid of one posterior: out to so many deviations, and points on each side, dense in the middle."""
_HAIR = 1e-9


class Posterior(Value):
    """What is known of a mean reward: a beta distribution with `a` and `b`, or Student's t with `df` about `middle`."""

    middle: float
    deviation: float
    a: float = 0.0
    b: float = 0.0
    df: float = 0.0

    def log_density(self, mean: float) -> float:
        if self.df:
            standard = (mean - self.middle) / self.deviation
            return -(self.df + 1) / 2 * math.log1p(standard * standard / self.df) - math.log(self.deviation)
        if not 0 < mean < 1:
            outside = (mean < 0 or mean > 1) or (mean == 0 and self.a > 1) or (mean == 1 and self.b > 1)
            return -math.inf if outside else -log_beta(self.a, self.b)
        return (self.a - 1) * math.log(mean) + (self.b - 1) * math.log1p(-mean) - log_beta(self.a, self.b)

    def grid(self) -> list[float]:
        ends = math.asinh(_REACH)
        steps = (math.sinh(ends * place / _POINTS) for place in range(-_POINTS, _POINTS + 1))
        points = (self.middle + self.deviation * step for step in steps)
        return list(points) if self.df else [min(1.0, max(0.0, point)) for point in points]


def posterior(earned: RewardDay, reward: Reward) -> Posterior:
    """From a uniform prior on a share, or from Jeffreys' on a mean and a variance that are both unknown.

    A reward between 0 and 1 counts as so much of a success: its variance is that of a coin at most, so that the
    posterior is never too narrow for it. Needs `FEWEST` rewards.
    """
    n, total = earned.n, earned.total
    if reward.bounded:
        a, b = 1 + min(max(total, 0.0), float(n)), 1 + min(max(n - total, 0.0), float(n))
        return Posterior(middle=a / (a + b), deviation=math.sqrt(a * b / (a + b + 1)) / (a + b), a=a, b=b)
    mean = total / n
    squares = max(0.0, earned.squares - n * mean * mean)
    deviation = math.sqrt(squares / (n - 1) / n)
    # Rewards that were all the same leave no spread; a hair of it keeps the arithmetic whole.
    return Posterior(middle=mean, deviation=max(deviation, _HAIR * max(1.0, abs(mean))), df=n - 1)


def chances(posteriors: Sequence[Posterior]) -> list[float]:
    """The probability of each to have the largest mean: the integral of its density times the others' distribution
    functions, by the trapezoidal rule on the points of all their grids; exact to about 1e-4, and summing to 1."""
    points = sorted({point for each in posteriors for point in each.grid()})
    below = [_distribution(each, points) for each in posteriors]
    found = []
    for place, own in enumerate(below):
        others = [values for other, values in enumerate(below) if other != place]
        under = [math.prod(values[at] for values in others) for at in range(len(points))]
        found.append(sum((q - p) * (u + v) / 2 for (p, q), (u, v) in zip(pairwise(own), pairwise(under), strict=True)))
    whole = sum(found)
    return [each / whole for each in found]


def _distribution(one: Posterior, points: Sequence[float]) -> list[float]:
    heights = [one.log_density(point) for point in points]
    highest = max(heights)
    dense = [math.exp(height - highest) for height in heights]
    areas = ((q - p) * (u + v) / 2 for (p, q), (u, v) in zip(pairwise(points), pairwise(dense), strict=True))
    sums = list(accumulate(areas, initial=0.0))
    return [each / sums[-1] for each in sums]


def weights(likely: Sequence[float], floor: int) -> list[int]:
    """Whole percents that sum to 100 and follow `likely` above `floor` for each; ties go to the first."""
    floor = min(floor, 100 // len(likely))
    free = 100 - floor * len(likely)
    wanted = [free * each for each in likely]
    whole = [math.floor(each) for each in wanted]
    order = sorted(range(len(wanted)), key=lambda place: whole[place] - wanted[place])
    for place in order[: free - sum(whole)]:
        whole[place] += 1
    return [floor + each for each in whole]


def counted(rewards: Iterable[RewardDay], newest: date | None, lag_days: int) -> list[RewardDay]:
    """The days whose labels have all had `lag_days` more days of events to come; all of them where labels take none.

    Else what is known first would weigh most: a purchase is known at once, that there will be none only later.
    """
    if not lag_days:
        return list(rewards)
    return [one for one in rewards if newest and one.day.toordinal() + lag_days < newest.toordinal()]


def earned(rewards: Iterable[RewardDay], releases: Sequence[str]) -> list[RewardDay]:
    """The sums of each release over all its days."""
    sums = {release: RewardDay(release=release, day=date.min) for release in releases}
    for one in rewards:
        if one.release in sums:
            sums[one.release] += one
    return [sums[release] for release in releases]


class ByDay(Value):
    """`days` with rewards of all releases, and the probability that the best one is the best, with days as the unit."""

    days: int
    chance: float


def by_days(rewards: Iterable[RewardDay], releases: Sequence[str], best: str) -> ByDay:
    """Whether `best` is so by its days, too: rows of one day stray together, and days may differ in what can be earned.

    On each day means are compared within the day, weighted by what they tell (the harmonic mean of the two counts),
    and Student's t is taken over days, by the effective number of them. Against several others the chances of error
    are added up.
    """
    table: defaultdict[date, dict[str, RewardDay]] = defaultdict(dict)
    for one in rewards:
        if one.n:
            table[one.day][one.release] = one
    common = [day for day in table.values() if all(release in day for release in releases)]
    errors = sum(1 - _better(common, best, other) for other in releases if other != best)
    return ByDay(days=len(common), chance=max(0.0, 1 - errors))


def _better(days: Sequence[Mapping[str, RewardDay]], one: str, other: str) -> float:
    pairs = [(day[one], day[other]) for day in days]
    sizes = [mine.n * theirs.n / (mine.n + theirs.n) for mine, theirs in pairs]
    gains = [mine.total / mine.n - theirs.total / theirs.n for mine, theirs in pairs]
    whole, squares = sum(sizes), sum(size * size for size in sizes)
    if not whole or (days_that_count := whole * whole / squares) <= 1.5:
        return 0.5
    mean = sum(size * gain for size, gain in zip(sizes, gains, strict=True)) / whole
    spread = sum((size * (gain - mean)) ** 2 for size, gain in zip(sizes, gains, strict=True))
    error = math.sqrt(spread * days_that_count / (days_that_count - 1)) / whole
    if error <= _HAIR * abs(mean):
        return 0.5 if mean == 0 else float(mean > 0)
    return student_t_cdf(mean / error, days_that_count - 1)
