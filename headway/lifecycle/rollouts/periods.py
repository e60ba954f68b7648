"""Days of paired losses into pieces of evidence that may be taken for independent of each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from headway.lifecycle.environments.records import RolloutPolicy
from headway.lifecycle.rollouts.records import PairedDay


def period_means(days: Iterable[PairedDay], newest: date | None, policy: RolloutPolicy) -> list[float]:
    """The mean difference of each period that counts, oldest first.

    A period is `policy.period_days` days by the calendar; of seven, it begins on a Monday. It counts once it is over
    and its labels have had `policy.label_lag_days` more days of events to come, if it has at least
    `policy.period_labels` by then.
    """
    counted: dict[int, list[PairedDay]] = defaultdict(list)
    for one in days:
        counted[(one.day.toordinal() - 1) // policy.period_days].append(one)
    sums = [
        (sum(one.n for one in counted[period]), sum(one.total for one in counted[period]))
        for period in sorted(counted)
        if newest and (period + 1) * policy.period_days + policy.label_lag_days < newest.toordinal()
    ]
    return [total / n for n, total in sums if n >= policy.period_labels]
