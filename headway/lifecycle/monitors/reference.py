"""Learn from the reference's own windows how far a quiet window strays."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from headway.errors import Invalid
from headway.kernel.records import Value
from headway.lifecycle.datasets.profile import Layout, LevelLayout, LevelProfile, NumericProfile, Profile, merge_all
from headway.lifecycle.monitors.statistic import Measure, Point, Statistic, Yardstick, fit, measure, share_scale

_CONSTANT = 1e-12
"""A column whose deviation is less than this part of its mean holds one value and rounding."""


class DriftRule(Value):
    """When a window counts as drifted."""

    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """Chance that a quiet window has any column outside its band."""
    floor: Annotated[float, Meta(ge=0)] = 0.1
    """Shifts below this are not material: in standard deviations of a row, or Cohen's h for shares."""
    min_rows: Annotated[int, Meta(ge=2)] = 100
    min_windows: Annotated[int, Meta(ge=4)] = 20
    arl: Annotated[float, Meta(gt=1)] = 3650.0
    """Quiet windows until a false alarm, on average at least: ten years of days."""


class DriftReference(Value):
    """What `judge` holds a window against; `skipped` windows had too few rows.

    `quiet` are, by column and in rising order, the p values of the reference's own windows, each judged by the others.
    """

    rule: DriftRule
    layout: str
    windows: int
    skipped: int
    statistics: tuple[Statistic, ...]
    quiet: dict[str, tuple[float, ...]]

    def p(self, column: str, ps: Sequence[float]) -> float:
        """One p value for all statistics of a column: Bonferroni over them, then made honest by the quiet windows.

        Unless it is beyond every quiet window it is no smaller than its (conformal) rank among them, and never below
        the square of what that many windows can show by themselves: further out no tail is believed.
        """
        quiet, p = self.quiet[column], _bonferroni(ps)
        as_small = bisect_right(quiet, p)
        ranked = (1 + as_small) / (len(quiet) + 1) if as_small else 0.0
        return max(p, ranked, 1 / (len(quiet) + 1) ** 2)


def learn_reference(windows: Sequence[Profile], layout: Layout, rule: DriftRule | None = None) -> DriftReference:
    """From profiles of equal spans of time, oldest first, over `layout`; costs about 30 us per window and statistic.

    With fewer than `min_windows` windows of `min_rows` rows it holds no statistics, and every judgement is unproven.
    """
    rule, digest = rule or DriftRule(), layout.digest
    if any(window.layout != digest for window in windows):
        raise Invalid("a window was profiled over another layout; profile it again with the reference's layout")
    kept = [window for window in windows if window.rows >= rule.min_rows]
    bare = DriftReference(
        rule=rule, layout=digest, windows=len(kept), skipped=len(windows) - len(kept), statistics=(), quiet={}
    )
    if len(kept) < max(rule.min_windows, 4):
        return bare
    whole = merge_all(kept)
    fitted = [found for yardstick in _yardsticks(whole, layout) if (found := _fitted(yardstick, kept, whole))]
    quiet: dict[str, dict[int, list[float]]] = {}
    for statistic, points in fitted:
        windows_ps = quiet.setdefault(statistic.yardstick.column, {})
        for window, point in enumerate(points):
            if point:
                windows_ps.setdefault(window, []).append(statistic.without(point).p(point, rule.floor))
    return bare.but(
        statistics=tuple(statistic for statistic, _ in fitted),
        quiet={name: tuple(sorted(map(_bonferroni, found.values()))) for name, found in quiet.items()},
    )


def _bonferroni(ps: Sequence[float]) -> float:
    return min(1.0, len(ps) * min(ps))


def _fitted(
    yardstick: Yardstick, windows: Sequence[Profile], whole: Profile
) -> tuple[Statistic, list[Point | None]] | None:
    points = [_within(yardstick, window, whole) for window in windows]
    present = [point for point in points if point]
    if len(present) < 4:
        return None
    return fit(yardstick, present, _row_variance(yardstick, windows)), points


def _within(yardstick: Yardstick, window: Profile, whole: Profile) -> Point | None:
    """As `measure`, but for a window that is part of the reference: never seen is what no other window holds."""
    column = window.columns[yardstick.column]
    if yardstick.measure is not Measure.UNSEEN or column.n == 0:
        return measure(yardstick, window)
    pairs = zip(column.counts, whole.columns[yardstick.column].counts, strict=True)
    hits = sum(count for count, total in pairs if count == total)
    return Point(at=share_scale(hits, column.n), n=column.n, hits=hits)


def _row_variance(yardstick: Yardstick, windows: Sequence[Profile]) -> float:
    if yardstick.measure is Measure.DEVIATION:
        return 0.5  # of half the logarithm of a variance, for normal values
    if yardstick.measure is not Measure.MEAN:
        return 1.0
    columns = [window.columns[yardstick.column] for window in windows]
    numeric = [column for column in columns if isinstance(column, NumericProfile) and column.n > 0]
    rows = sum(column.n - 1 for column in numeric)
    return math.fsum(column.m2 for column in numeric) / max(rows, 1) / yardstick.scale**2


def _yardsticks(whole: Profile, layout: Layout) -> list[Yardstick]:
    found = []
    for name, column in whole.columns.items():
        found.append(Yardstick(column=name, measure=Measure.NULLS, label=Measure.NULLS))
        empty = tuple(cell for cell, count in enumerate(column.counts) if count == 0)
        found.append(Yardstick(column=name, measure=Measure.UNSEEN, label=Measure.UNSEEN, cells=empty))
        scale = math.sqrt(column.m2 / column.n) if isinstance(column, NumericProfile) and column.n else 0.0
        if isinstance(column, NumericProfile) and scale > _CONSTANT * max(abs(column.mean), _CONSTANT):
            found += [
                Yardstick(column=name, measure=kind, label=kind, centre=column.mean, scale=scale)
                for kind in (Measure.MEAN, Measure.DEVIATION)
            ]
        if isinstance(column, LevelProfile):
            found += _levels(name, column, layout)
    return found


def _levels(name: str, column: LevelProfile, layout: Layout) -> list[Yardstick]:
    level_layout = layout.columns[name]
    levels = level_layout.levels if isinstance(level_layout, LevelLayout) else ()
    names = [*(repr(level) for level in levels), "all other levels"]
    return [
        Yardstick(column=name, measure=Measure.LEVEL, label=f"{Measure.LEVEL} {names[cell]}", cells=(cell,))
        for cell, count in enumerate(column.counts)
        if count
    ]
