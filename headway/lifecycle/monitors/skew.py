"""Skew: do more of today's rows break rules of values than the contract tolerates?

The rows of one day are held against the tolerated share by the exact binomial test, to one side. Evidence is added up
over the days by the same detector as for drift. As long as every row's chance to break a rule is at most the tolerated
one, whatever came before, a false alarm comes after `arl` days on average at least: days need not be alike for that.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.kernel.distributions import binomial_tail
from headway.kernel.records import Value
from headway.kernel.statistics import wilson
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector, advance, evidence_of

_LEAST_P = 1e-300
"""Below this a p value is no number any more of which evidence can be made."""
_ROWS = "rows"


class SkewRule(Value):
    """When values out of the contract count as too many; the tolerated share is the contract's."""

    arl: Annotated[float, Meta(gt=1)] = 3650.0
    """Days within what is tolerated until a false alarm, on average at least."""


class SkewedDay(Value):
    """One day's answered rows of a release, and how many of them broke rules of the columns that were asked about."""

    rows: int
    skewed: int
    columns: dict[str, int] = {}
    """By column, the rows that broke its rules."""


class SkewJudgement(Value):
    outcome: Outcome
    reason: str
    detector: Detector
    limit: float
    p: float | None = None


def judge_skew(
    day: SkewedDay, tolerated: float, rule: SkewRule, detector: Detector | None = None
) -> SkewJudgement:  # fmt: skip
    """Hold one day against the share that is tolerated; `detector` is what the judgement of the day before returned.

    Unproven, leaving the detector as it was, without a row.
    """
    detector = detector or Detector()
    if day.rows == 0:
        return SkewJudgement(
            outcome=Outcome.UNPROVEN, reason="no rows on this day", detector=detector, limit=rule.arl
        )  # fmt: skip
    p = max(binomial_tail(day.skewed, day.rows, tolerated), _LEAST_P)
    after = advance(detector, {_ROWS: evidence_of(p)}, rule.arl, columns=[_ROWS])
    skewed = after.total >= rule.arl
    share, likely = day.skewed / day.rows, wilson(day.skewed, day.rows)
    most = ", ".join(f"{name} {count:,}" for name, count in _most(day.columns)) or "none"
    return SkewJudgement(
        outcome=Outcome.FAIL if skewed else Outcome.PASS,
        reason=f"{'skew' if skewed else 'no skew'}: {share:.2%} of {day.rows:,} rows break rules of values "
        f"({likely.low:.2%} to {likely.high:.2%}), {tolerated:.2%} are tolerated; evidence {after.total:.3g} of "
        f"{rule.arl:g}; by column: {most}",
        detector=after, limit=rule.arl, p=p,
    )  # fmt: skip


def _most(columns: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(columns.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
