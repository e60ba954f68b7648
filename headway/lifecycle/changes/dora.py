"""The four delivery figures (Forsgren, Humble & Kim, Accelerate, 2018) as queries over changes.

Deployment frequency: changes settled per day. Lead time: from the commit where it is known, else from opened, to
settled, median. Change failure rate: of the
changes that reached production traffic, the share that was rolled back. Time to restore: from the first traffic of a
change that was rolled back to its end, median. Each comes with the number of changes behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median

from headway.kernel.records import Value
from headway.kernel.statistics import Interval, wilson
from headway.lifecycle.changes.records import Change, Stage


class Figures(Value):
    since: datetime
    until: datetime
    settled: int
    reached_traffic: int
    rolled_back: int
    deployments_per_day: float
    lead_time_s: float | None
    from_commit: int
    """The settled ones whose lead time counts from their commit."""
    change_failure_rate: float | None
    change_failure_interval: Interval | None
    """95 % interval of the failure rate (Wilson)."""
    time_to_restore_s: float | None


def figures(changes: Sequence[Change], since: datetime, until: datetime) -> Figures:
    """The figures of the changes that ended in [since, until)."""
    ended = [change for change in changes if change.over and since <= change.history[-1].at < until]
    settled = [change for change in ended if change.stage is Stage.SETTLED]
    moved = [change for change in ended if _moment(change, Stage.ROLLING_OUT)]
    failed = [change for change in moved if change.stage is Stage.REJECTED]
    starts = [(change, began) for change in failed if (began := _moment(change, Stage.ROLLING_OUT))]
    days = max((until - since).total_seconds() / 86_400, 1e-9)
    return Figures(
        since=since,
        until=until,
        settled=len(settled),
        reached_traffic=len(moved),
        rolled_back=len(failed),
        deployments_per_day=len(settled) / days,
        lead_time_s=_median([(change.history[-1].at - _began(change)).total_seconds() for change in settled]),
        from_commit=sum(change.committed_at is not None for change in settled),
        change_failure_rate=len(failed) / len(moved) if moved else None,
        change_failure_interval=wilson(len(failed), len(moved), 0.05) if moved else None,
        time_to_restore_s=_median([(change.history[-1].at - began).total_seconds() for change, began in starts]),
    )


def _moment(change: Change, stage: Stage) -> datetime | None:
    return next((moment.at for moment in change.history if moment.stage is stage), None)


def _began(change: Change) -> datetime:
    return change.committed_at or change.created_at


def _median(times: Sequence[float]) -> float | None:
    return median(times) if times else None
