"""The profile: counts and moments of a table's columns, over cut points that were frozen on a reference.

Two profiles over the same layout share every cell, so their difference carries no noise of a sketch, and merging is
adding: profiles of hours make the profile of the day, in any order.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import reduce

from headway.errors import Invalid
from headway.kernel.records import Value, digest, encode

LARGEST = 1e150
"""A number further from zero is counted as not finite: its square could not be summed."""


class NumericLayout(Value, tag="numeric"):
    """Cell 0 is below `cuts[0]`, cell i is cuts[i-1] <= x < cuts[i], the last cell is from `cuts[-1]` up.

    The first and the last cell are empty in the reference the cuts were learnt from.
    """

    cuts: tuple[float, ...]

    @property
    def cells(self) -> int:
        return len(self.cuts) + 1


class LevelLayout(Value, tag="levels"):
    """Cell i counts `levels[i]`, most frequent in the reference first; the last cell counts all others."""

    levels: tuple[str, ...]

    @property
    def cells(self) -> int:
        return len(self.levels) + 1


class Layout(Value):
    """By column, what is counted where."""

    columns: dict[str, NumericLayout | LevelLayout]

    @property
    def digest(self) -> str:
        return digest(encode(self))


class NumericProfile(Value, tag="numeric"):
    """`n` finite values: counts by cell, mean, sum of squared deviations from it, lowest and highest."""

    n: int
    nulls: int
    non_finite: int
    """Infinities, and numbers beyond `LARGEST`; NaN is a null."""
    counts: tuple[int, ...]
    mean: float = 0.0
    m2: float = 0.0
    low: float | None = None
    high: float | None = None


class LevelProfile(Value, tag="levels"):
    """`n` texts that are not null, counted by cell."""

    n: int
    nulls: int
    counts: tuple[int, ...]


class Profile(Value):
    """A summary of `rows` rows; `layout` is the digest of the layout it was counted over."""

    layout: str
    rows: int
    columns: dict[str, NumericProfile | LevelProfile]


def merge(first: Profile, second: Profile) -> Profile:
    """The profile of both tables together: counts exactly, moments to rounding. Raises `Invalid` across layouts."""
    if first.layout != second.layout or first.columns.keys() != second.columns.keys():
        raise Invalid("only profiles of one layout can be merged; profile the data again with the reference's layout")
    columns = {name: _merged(column, second.columns[name]) for name, column in first.columns.items()}
    return Profile(layout=first.layout, rows=first.rows + second.rows, columns=columns)


def merge_all(profiles: Iterable[Profile]) -> Profile:
    """All of them merged; raises `Invalid` when there are none."""
    found = list(profiles)
    if not found:
        raise Invalid("there is no profile to merge")
    return reduce(merge, found)


def _merged(a: NumericProfile | LevelProfile, b: NumericProfile | LevelProfile) -> NumericProfile | LevelProfile:
    if len(a.counts) != len(b.counts):
        raise Invalid("these profiles name one layout but have different cells; profile the data again")
    n, counts = a.n + b.n, tuple(map(operator.add, a.counts, b.counts))
    if isinstance(a, LevelProfile) and isinstance(b, LevelProfile):
        return LevelProfile(n=n, nulls=a.nulls + b.nulls, counts=counts)
    if isinstance(a, NumericProfile) and isinstance(b, NumericProfile):
        mean, m2 = _moments(a, b)
        return NumericProfile(
            n=n, nulls=a.nulls + b.nulls, non_finite=a.non_finite + b.non_finite, counts=counts,
            mean=mean, m2=m2, low=_extreme(min, a.low, b.low), high=_extreme(max, a.high, b.high),
        )  # fmt: skip
    raise Invalid("a numeric profile cannot be merged with one of levels; profile the data again")


def _moments(a: NumericProfile, b: NumericProfile) -> tuple[float, float]:
    """Chan, Golub and LeVeque (1983), written so that it is symmetric in `a` and `b`."""
    n = a.n + b.n
    if n == 0:
        return 0.0, 0.0
    apart = b.mean - a.mean
    return (a.n * a.mean + b.n * b.mean) / n, a.m2 + b.m2 + apart * apart * (a.n * b.n / n)


def _extreme(choose: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)
