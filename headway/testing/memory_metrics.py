"""Points of metrics in memory: what the store on SQL is held against, so it does everything the slow way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from headway.lifecycle.runs.curve import Curve, Summary, joined, thinned, within
from headway.lifecycle.runs.records import Metric
from headway.testing.memory_journal import MemoryJournal, MemoryTable


class MemoryMetricStore:
    def __init__(self, journal: MemoryJournal) -> None:
        self._points = MemoryTable[tuple[str, str, int, int, str], Curve](journal)

    def add(self, curves: Mapping[tuple[str, str], Curve]) -> int:
        known = set(self._points.all())
        before = len(known)
        for (run, key), curve in curves.items():
            for place, (step, at, value) in enumerate(zip(curve.steps, curve.at_us, curve.values, strict=True)):
                point = (run, key, step, at, repr(value))
                if point not in known:
                    known.add(point)
                    self._points.set(point, curve.part(place, place + 1))
        return len(known) - before

    def forget(self, run: str) -> None:
        for known in [known for known in self._points.all() if known[0] == run]:
            self._points.drop(known)

    def latest(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        return {run: {key: summary.last for key, summary in self.summaries(run).items()} for run in runs}

    def last_points(self, runs: Sequence[str]) -> dict[str, list[Metric]]:
        found: dict[str, list[Metric]] = {run: [] for run in runs}
        for run in runs:
            for key in sorted({known[1] for known in self._points.all() if known[0] == run}):
                points = self._whole(run, key).metrics(key)
                found[run].append(max(points, key=lambda point: (point.step, point.at, *_rank(point.value))))
        return found

    def summaries(self, run: str) -> dict[str, Summary]:
        keys = sorted({known[1] for known in self._points.all() if known[0] == run})
        return {key: _summary(self._whole(run, key)) for key in keys}

    def curve(self, run: str, key: str, *, limit: int, after: int = 0) -> Curve:
        return self._whole(run, key).part(after, after + limit)

    def sample(
        self, run: str, key: str, *, most: int, first_step: int | None = None, last_step: int | None = None
    ) -> Curve:
        return thinned(within(self._whole(run, key), first_step, last_step), most)

    def _whole(self, run: str, key: str) -> Curve:
        return joined([Curve(), *(point for known, point in self._points.all().items() if known[:2] == (run, key))])


def _rank(value: float) -> tuple[bool, float]:
    return value == value, value if value == value else 0.0


def _summary(curve: Curve) -> Summary:
    step, _, (known, last) = max(
        (step, at, (value == value, value if value == value else 0.0))
        for step, at, value in zip(curve.steps, curve.at_us, curve.values, strict=True)
    )
    values = [value for value in curve.values if value == value]
    return Summary(
        last=last if known else math.nan,
        lowest=min(values, default=math.nan),
        highest=max(values, default=math.nan),
        points=len(curve),
        last_step=step,
    )
