"""What one can do with the points that runs log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headway.errors import Conflict, HeadwayError, Invalid, NotFound, QuotaExceeded
from headway.kernel.access import Actor, Permission
from headway.kernel.journal import Journal
from headway.lifecycle.runs.curve import Curve, Summary, checked_most
from headway.lifecycle.runs.records import Metric, Run
from headway.lifecycle.runs.room import Room
from headway.lifecycle.runs.rules import LONGEST_KEY
from headway.lifecycle.runs.store import MetricStore, RunStore

MOST_POINTS = 100_000
"""In one call."""


class Logged(NamedTuple):
    """Points that somebody adds to one run, by key. `late` lets them reach a run that is over, as long as it belongs
    to no pipeline and no change: what such a run logged is evidence."""

    run: str
    curves: Mapping[str, Curve]
    by: Actor
    late: bool = False


class MetricService:
    def __init__(self, journal: Journal, runs: RunStore, store: MetricStore, room: Room) -> None:
        self._journal, self._runs, self._store, self._room = journal, runs, store, room

    def add(self, logged: Logged) -> None:
        """Add points to one run. Raises `Conflict` when it is over."""
        error = self.add_all([logged])[0]
        if error is not None:
            raise error

    def add_all(self, group: Sequence[Logged]) -> list[HeadwayError | None]:
        """Add what several callers log, in one act; for each, why nothing of it was written, or None."""
        errors = [_refusal(logged) for logged in group]
        with self._journal.act(group[0].by.name, "run.log"):
            known = {logged.run: self._runs.get(logged.run) for logged in group}
            curves: dict[tuple[str, str], list[Curve]] = {}
            for place, logged in enumerate(group):
                errors[place] = errors[place] or _closed(logged, known[logged.run]) or self._full(logged)
                if errors[place] is None:
                    for key, curve in logged.curves.items():
                        curves.setdefault((logged.run, key), []).append(curve)
            for turn in range(max(map(len, curves.values()), default=0)):
                self._store.add({name: parts[turn] for name, parts in curves.items() if len(parts) > turn})
        return errors

    def _full(self, logged: Logged) -> HeadwayError | None:
        try:
            self._room.for_points(logged.run, sum(map(len, logged.curves.values())))
        except QuotaExceeded as error:
            return error
        return None

    def latest(self, runs: Sequence[str]) -> dict[str, dict[str, float]]:
        """The last value of each metric, by run and key."""
        return self._store.latest(runs)

    def last_points(self, runs: Sequence[str]) -> dict[str, list[Metric]]:
        """As `latest`, with step and time."""
        return self._store.last_points(runs)

    def summaries(self, run: str) -> dict[str, Summary]:
        """Last, lowest and highest value and the number of points, by key."""
        self._known(run)
        return self._store.summaries(run)

    def curve(self, run: str, key: str, *, limit: int = 1000, after: int = 0) -> Curve:
        """Points in the order of writing, which number them from 1; `after` is the last number seen."""
        self._known(run)
        if not 1 <= limit <= MOST_POINTS:
            raise Invalid(f"limit must be from 1 to {MOST_POINTS}, not {limit}")
        return self._store.curve(run, key, limit=limit, after=after)

    def sample(
        self, run: str, key: str, *, most: int = 1000, first_step: int | None = None, last_step: int | None = None
    ) -> Curve:
        """As many points as a chart has room for, with the peaks and NaN kept."""
        self._known(run)
        return self._store.sample(run, key, most=checked_most(most), first_step=first_step, last_step=last_step)

    def _known(self, run: str) -> None:
        if self._runs.get(run) is None:
            raise _missing(run)


def _refusal(logged: Logged) -> HeadwayError | None:
    try:
        logged.by.must(Permission.WRITE)
    except HeadwayError as error:
        return error
    wrong = next((key for key in logged.curves if not 0 < len(key) <= LONGEST_KEY), None)
    if wrong is not None:
        return Invalid(f"a key has 1 to {LONGEST_KEY} characters, not {len(wrong)}: {wrong[:40]!r}")
    uneven = next((key for key, c in logged.curves.items() if not len(c.steps) == len(c.at_us) == len(c.values)), None)
    if uneven is not None:
        return Invalid(f"steps, times and values of {uneven[:40]!r} are of different number")
    points = sum(map(len, logged.curves.values()))
    if points > MOST_POINTS:
        return Invalid(f"one call adds at most {MOST_POINTS} points, not {points}; send them in parts")
    return None


def _closed(logged: Logged, run: Run | None) -> HeadwayError | None:
    if run is None:
        return _missing(logged.run)
    if run.deleted_at is not None:
        return Invalid(f"run {logged.run} is deleted; restore it first")
    if run.over and (not logged.late or run.pipeline or run.change):
        return Conflict(f"run {logged.run} is {run.state}; start a new run to log more")
    return None


def _missing(run: str) -> NotFound:
    return NotFound(f"no run {run!r}; `headway run list` shows what there is")
