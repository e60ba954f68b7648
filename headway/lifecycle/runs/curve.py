"""The points of one series as columns, and thinning them for a chart without losing what stands out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from headway.errors import Invalid
from headway.kernel.clock import from_us, to_us
from headway.kernel.records import Value
from headway.lifecycle.runs.records import Metric

FEWEST, MOST = 10, 10_000
"""How many points a sample may have."""


class Curve(Value):
    """Points in the order of writing, one list per column, all of one length."""

    steps: list[int] = []
    at_us: list[int] = []
    """Microseconds since 1970."""
    values: list[float] = []

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, start: int, end: int | None = None) -> Curve:
        return Curve(steps=self.steps[start:end], at_us=self.at_us[start:end], values=self.values[start:end])

    def at(self, places: Iterable[int]) -> Curve:
        """The points at these places, counted from 0."""
        picked = list(places)
        return Curve(
            steps=[self.steps[place] for place in picked],
            at_us=[self.at_us[place] for place in picked],
            values=[self.values[place] for place in picked],
        )

    def metrics(self, key: str) -> list[Metric]:
        return [
            Metric(key=key, value=value, at=from_us(at), step=step)
            for step, at, value in zip(self.steps, self.at_us, self.values, strict=True)
        ]


class Summary(Value):
    """What is known of a series without its points. `lowest` and `highest` leave NaN out: they are NaN when the
    series has nothing else."""

    last: float
    lowest: float
    highest: float
    points: int
    last_step: int


def curves(metrics: Iterable[Metric]) -> dict[str, Curve]:
    """The curve of each key."""
    found: dict[str, Curve] = {}
    for metric in metrics:
        curve = found.get(metric.key)
        if curve is None:
            curve = found[metric.key] = Curve()
        curve.steps.append(metric.step)
        curve.at_us.append(to_us(metric.at))
        curve.values.append(metric.value)
    return found


def joined(parts: Sequence[Curve]) -> Curve:
    if len(parts) == 1:
        return parts[0]
    whole = Curve()
    for part in parts:
        whole.steps.extend(part.steps)
        whole.at_us.extend(part.at_us)
        whole.values.extend(part.values)
    return whole


def within(curve: Curve, first_step: int | None, last_step: int | None) -> Curve:
    """The points whose step lies between the two, both included."""
    low = -math.inf if first_step is None else first_step
    high = math.inf if last_step is None else last_step
    if not len(curve) or (low <= min(curve.steps) and max(curve.steps) <= high):
        return curve
    return curve.at(place for place, step in enumerate(curve.steps) if low <= step <= high)


def thinned(curve: Curve, most: int) -> Curve:
    """At most `most` points of the curve: the first, the last, and of each stretch the lowest, the highest and a NaN.

    A peak of a single point is so never lost, which an average or every n-th point would lose.
    """
    if len(curve) <= most:
        return curve
    each = 2 if _without_nan(curve.values) else 3
    stretches = max(1, (most - 2) // each)
    edges = [len(curve) * number // stretches for number in range(stretches + 1)]
    places = {0, len(curve) - 1}
    for start, end in pairwise(edges):
        places.update(start + place for place in standing_out(curve.values[start:end]))
    return curve.at(sorted(places))


def standing_out(values: Sequence[float]) -> set[int]:
    """Where the lowest, the highest and the first NaN of `values` are; there must be a value."""
    if _without_nan(values):
        return {values.index(min(values)), values.index(max(values))}
    known = [(value, place) for place, value in enumerate(values) if value == value]
    first_nan = next((place for place, value in enumerate(values) if value != value), None)
    found = {min(known)[1], max(known)[1]} if known else set[int]()
    return found if first_nan is None else found | {first_nan}


def checked_most(most: int) -> int:
    if not FEWEST <= most <= MOST:
        raise Invalid(f"a sample has from {FEWEST} to {MOST} points, not {most}")
    return most


def _without_nan(values: Sequence[float]) -> bool:
    """Sure to hold no NaN: a sum is NaN with one in it, and also where both infinities meet."""
    total = sum(values)
    return total == total
