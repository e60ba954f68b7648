"""Whether there is room for more: counted in memory, and counted anew in the store before anybody is refused."""

from __future__ import annotations

from headway.errors import QuotaExceeded
from headway.kernel.quotas import QuotasNow
from headway.lifecycle.runs.search import RunSearch
from headway.lifecycle.runs.store import MetricStore, RunStore

_MOST_COUNTED = 10_000


class Room:
    """A count may be too high after a purge, and points that are sent twice count twice: then the store is asked. It
    may be too low by what another process wrote since."""

    def __init__(self, quotas: QuotasNow, runs: RunStore, metrics: MetricStore) -> None:
        self._quotas, self._runs, self._metrics = quotas, runs, metrics
        self._points: dict[str, int] = {}
        self._of_experiment: dict[str, int] = {}

    def for_run(self, experiment: str) -> None:
        """Raise `QuotaExceeded` when the experiment has all its runs, else count one more."""
        limit = self._quotas().runs_per_experiment
        if limit is None:
            return
        known = self._of_experiment.get(experiment)
        if known is None or known >= limit:
            known = self._runs.count(RunSearch(experiments=(experiment,), deleted=None))
        if known >= limit:
            raise QuotaExceeded(
                f"experiment {experiment!r} has {known} runs, and the quota is {limit}: purge some that were deleted, "
                "or ask an operator to raise runs_per_experiment under [quotas]",
                quota="runs_per_experiment", limit=limit,
            )  # fmt: skip
        _note(self._of_experiment, experiment, known + 1)

    def for_points(self, run: str, count: int) -> None:
        """Raise `QuotaExceeded` when `count` points more would be too many for the run, else count them."""
        limit = self._quotas().points_per_run
        if limit is None:
            return
        known = self._points.get(run)
        if known is None or known + count > limit:
            known = sum(summary.points for summary in self._metrics.summaries(run).values())
        if known + count > limit:
            raise QuotaExceeded(
                f"run {run} has {known} points, and the quota is {limit}: log less often, or ask an operator to raise "
                "points_per_run under [quotas]",
                quota="points_per_run", limit=limit,
            )  # fmt: skip
        _note(self._points, run, known + count)


def _note(counts: dict[str, int], name: str, count: int) -> None:
    if len(counts) >= _MOST_COUNTED:
        counts.clear()
    counts[name] = count
