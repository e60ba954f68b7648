"""What a rollout does next: the decision is looked at again and again, so every bound in it is always-valid.

Three questions are asked of the candidate: does it fail too often, is it too slow too often, does it predict worse
than the release before it. Each is answered by a confidence sequence (Howard et al. 2021; Wang and Ramdas 2023), which
holds at all times at once: peeking does not raise the chance of a wrong answer above `alpha`. Requests are counted one
by one, but the loss by the day, because the rows of one day stray together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import fmean

from headway.kernel.records import Value
from headway.kernel.statistics import UNBOUNDED, bernoulli_sequence, student_sequence
from headway.lifecycle.environments.records import RolloutKind, RolloutPolicy
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.rollouts.bandit import (
    FEWEST,
    ByDay,
    by_days,
    chances,
    counted,
    earned,
    posterior,
    weights,
)
from headway.lifecycle.rollouts.periods import period_means
from headway.lifecycle.rollouts.records import Health, Rollout, RolloutState, Share, Standing, Tally

_HARM, _PROOF = 3.0, 1.0
"""Effects (mean over deviation between days) that the two ends of the loss are made for: a large harm shows on the
third day, while a promotion takes five at least. Measured by benchmarks/canary_quality.py."""
_MOST_ENDS = 5
"""A process may end for other reasons than its models, and one at a port that is taken does so three times. Where that
goes on while a candidate is served, requests are lost that no count of failures has."""


class Advance(Value):
    """Give the candidate the share of the next step."""

    step: int
    reason: str
    winner: str = ""
    """Who takes the candidate's place, of a bandit that compared several."""


class Drop(Value):
    """Compare one of several challengers no more, and give the others these shares."""

    release: str
    standing: tuple[Standing, ...]
    reason: str


class Weigh(Value):
    """Give the releases of a bandit these shares."""

    standing: tuple[Standing, ...]
    reason: str


class Promote(Value):
    """The candidate has all traffic, has shown that it can carry it, and stays."""

    reason: str


class Hold(Value):
    reason: str


class RollBack(Value):
    reason: str


Decision = Advance | Drop | Weigh | Promote | Hold | RollBack


def next_step(rollout: Rollout, health: Health, policy: RolloutPolicy, now: datetime) -> Decision:
    """What to do with a rollout, from what its candidate has shown. One that is paused goes nowhere but back."""
    decision = _decision(rollout, health, policy, now)
    if rollout.state is RolloutState.PAUSED and isinstance(decision, Advance | Weigh | Promote):
        return Hold(reason="paused")
    return decision


def _decision(rollout: Rollout, health: Health, policy: RolloutPolicy, now: datetime) -> Decision:
    if rollout.state is RolloutState.PENDING or rollout.step < 0:
        return Advance(step=0, reason="first step" if rollout.incumbent else "nothing served before")
    if health.ends >= _MOST_ENDS:
        return RollBack(reason=f"processes of its server ended {health.ends} times unasked while it was served")
    if not health.live:
        return _hold(rollout, policy, now, "the servers do not serve this step yet")
    # With all traffic, or with nothing before it, there is no other release to compare the candidate with.
    comparing = rollout.incumbent is not None and rollout.percent < 100
    if rollout.playing:
        return _play(rollout, health, policy, now)
    if comparing and policy.kind is RolloutKind.AB:
        return _contest(rollout, health, policy, now)
    findings = answers(health, policy, compare=comparing)
    bad = next((finding for finding in findings if finding.outcome is Outcome.FAIL), None)
    if bad:
        return RollBack(reason=bad.reason)
    doubts = _too_little(health, policy, compare=comparing)
    doubts += [finding.reason for finding in findings if finding.outcome is Outcome.UNPROVEN]
    if doubts:
        return _hold(rollout, policy, now, doubts[0])
    reason = "; ".join(finding.reason for finding in findings)
    return Promote(reason=reason) if rollout.percent == 100 else Advance(step=rollout.step + 1, reason=reason)


def _contest(rollout: Rollout, health: Health, policy: RolloutPolicy, now: datetime) -> Advance | Hold | RollBack:
    """Two arms at their shares, until the mean difference of their losses is shown to be on one side of 0.

    Each side is shown wrongly with probability about alpha / 2, however often and long it is looked at.
    """
    findings = answers(health, policy, compare=False)
    bad = next((finding for finding in findings if finding.outcome is Outcome.FAIL), None)
    if bad:
        return RollBack(reason=bad.reason)
    means = period_means(health.quality, health.newest_day, policy)
    interval = student_sequence(means, policy.alpha, _PROOF)
    if interval.low > -UNBOUNDED and interval.high < UNBOUNDED:
        seen = f"loss from {interval.low:+.4f} to {interval.high:+.4f} against the release before, "
    else:
        seen = "no interval yet, "
    seen += f"in {_counted(len(means), policy)}"
    if interval.low > 0:
        return RollBack(reason=f"the release before predicts better: {seen}")
    if interval.high < 0:
        doubts = [finding.reason for finding in findings if finding.outcome is Outcome.UNPROVEN]
        reason = f"the candidate predicts better: {seen}"
        return _hold(rollout, policy, now, doubts[0]) if doubts else Advance(step=len(rollout.steps) - 1, reason=reason)
    if len(means) >= policy.ab_periods:
        return RollBack(reason=f"no difference was shown: {seen}")
    return _hold(rollout, policy, now, f"neither is shown to be better: {seen}")


def _play(rollout: Rollout, health: Health, policy: RolloutPolicy, now: datetime) -> Decision:
    """Shares follow the chance of each release to be the best; once one is likely enough to be, by its labels and by
    their days, and enough of both are there, the bandit ends for it."""
    assert rollout.reward is not None
    findings = {
        release: answers(health.but(candidate=_tally(health, rollout, release)), policy, compare=False)
        for release in rollout.challengers
    }
    for release, found in findings.items():
        if bad := next((finding for finding in found if finding.outcome is Outcome.FAIL), None):
            alone = len(findings) == 1
            return RollBack(reason=bad.reason) if alone else _without(rollout, release, policy, bad.reason)
    days = counted(health.rewards, health.newest_day, policy.label_lag_days)
    sums = earned(days, rollout.arms)
    fewest = min(one.n for one in sums)
    if fewest < FEWEST:
        outside = sum(one.outside for one in sums)
        doubt = f"; {outside} are outside of what {rollout.reward} may be" if outside else ""
        return _hold(rollout, policy, now, f"{fewest} labels of one release count, {FEWEST} are the least{doubt}")
    likely = chances([posterior(one, rollout.reward) for one in sums])
    standing = tuple(
        Standing(release=one.release, percent=percent, n=one.n, mean=one.total / one.n, chance=chance)
        for one, chance, percent in zip(sums, likely, weights(likely, policy.arm_floor), strict=True)
    )
    best = max(standing, key=lambda one: one.chance)
    daily = by_days(days, rollout.arms, best.release)
    seen = _earned(rollout, standing, daily)
    whole = fewest >= policy.arm_labels and daily.days >= policy.arm_days
    if whole and min(best.chance, daily.chance) >= policy.best_chance:
        if best.release == rollout.incumbent:
            return RollBack(reason=f"the release before is the best: {seen}")
        doubts = [each.reason for each in findings[best.release] if each.outcome is Outcome.UNPROVEN]
        if doubts:
            return _hold(rollout, policy, now, doubts[0])
        reason = f"{_called(rollout, best.release)} is the best: {seen}"
        return Advance(step=len(rollout.steps) - 1, reason=reason, winner=best.release)
    fresh = sum(one.n for one in standing) - sum(one.n for one in rollout.standing)
    held = _hold(rollout, policy, now, f"none is likely enough to be the best: {seen}")
    if isinstance(held, RollBack) or fresh < policy.batch_labels or _same_shares(rollout, standing):
        return held
    return Weigh(standing=standing, reason=seen)


def _tally(health: Health, rollout: Rollout, release: str) -> Tally:
    return health.candidate if release == rollout.candidate else health.tallies.get(release, Tally())


def _without(rollout: Rollout, release: str, policy: RolloutPolicy, reason: str) -> Drop:
    """The others share what it had, in proportion to what they have."""
    known = {one.release: one for one in rollout.standing}
    now = [share for share in _split_now(rollout) if share.release != release]
    whole = sum(share.percent for share in now)
    split = weights([share.percent / whole for share in now], policy.arm_floor)
    standing = tuple(
        known.get(share.release, Standing(release=share.release, percent=0)).but(percent=percent)
        for share, percent in zip(now, split, strict=True)
    )
    return Drop(release=release, standing=standing, reason=f"{_called(rollout, release)}: {reason}")


def _called(rollout: Rollout, release: str) -> str:
    if release == rollout.incumbent:
        return "the release before"
    return f"the release {release}" if rollout.rivals else "the candidate"


def _earned(rollout: Rollout, standing: Sequence[Standing], daily: ByDay) -> str:
    said = [
        f"{_called(rollout, one.release)} earns {one.mean:.4g} a label in {one.n} and is the best with probability "
        f"{one.chance:.3f}"
        for one in standing
    ]
    return f"{', '.join(said)}; by {daily.days} days the likeliest one is with {daily.chance:.3f}"


def _split_now(rollout: Rollout) -> tuple[Share, ...]:
    """What the releases of a bandit have now."""
    if rollout.standing:
        return tuple(Share(release=one.release, percent=one.percent) for one in rollout.standing)
    return shares(rollout, rollout.steps[0])


def _same_shares(rollout: Rollout, standing: Sequence[Standing]) -> bool:
    now = {share.release: share.percent for share in _split_now(rollout)}
    return {one.release: one.percent for one in standing} == now


def _too_little(health: Health, policy: RolloutPolicy, *, compare: bool) -> list[str]:
    found = []
    if health.step_requests < policy.min_requests:
        found.append(f"{health.step_requests} of {policy.min_requests} requests seen at this step")
    if compare and health.step_labels < policy.min_labels:
        found.append(f"{health.step_labels} of {policy.min_labels} labels seen at this step")
    return found


def _hold(rollout: Rollout, policy: RolloutPolicy, now: datetime, reason: str) -> Hold | RollBack:
    waited_s = (now - rollout.step_at).total_seconds() if rollout.step_at else 0.0
    if waited_s > policy.patience_s and rollout.state is not RolloutState.PAUSED:
        return RollBack(reason=f"still unproven after {waited_s:.0f} s: {reason}")
    return Hold(reason=reason)


def answers(health: Health, policy: RolloutPolicy, *, compare: bool) -> tuple[Finding, ...]:
    """The findings on errors, latency and, when there is an incumbent to compare with, quality."""
    found = [
        _rate(health.candidate, health.candidate.errors, policy.max_error_rate, policy.alpha, "errors"),
        _rate(health.candidate, health.candidate.slow, policy.max_slow_rate, policy.alpha, "slow requests"),
    ]
    if compare and policy.min_labels:
        found.append(_quality(health, policy))
    return tuple(found)


def _rate(tally: Tally, bad: int, limit: float, alpha: float, what: str) -> Finding:
    interval = bernoulli_sequence(bad, tally.requests, alpha)
    numbers = {"n": tally.requests, "bad": bad, "low": interval.low, "high": interval.high, "limit": limit}
    seen = f"{what}: {bad} of {tally.requests}, at least {interval.low:.2%}, at most {interval.high:.2%}"
    if interval.low > limit:
        return Finding(outcome=Outcome.FAIL, reason=f"{seen}; the limit is {limit:.2%}", numbers=numbers)
    proven = interval.high <= limit
    outcome = Outcome.PASS if proven else Outcome.UNPROVEN
    return Finding(outcome=outcome, reason=f"{seen} (limit {limit:.2%})", numbers=numbers)


def _quality(health: Health, policy: RolloutPolicy) -> Finding:
    means = period_means(health.quality, health.newest_day, policy)
    margin, numbers = policy.quality_margin, {"periods": len(means), "margin": policy.quality_margin}
    low = student_sequence(means, policy.alpha, _HARM).low
    high = student_sequence(means, policy.alpha, _PROOF).high
    if low == -UNBOUNDED:
        reason = f"quality: {_counted(len(means), policy)} of labels by both releases, too few to tell"
        return Finding(outcome=Outcome.UNPROVEN, reason=reason, numbers=numbers)
    mean = fmean(means)
    numbers |= {"mean": mean, "low": low} | ({"high": high} if high < UNBOUNDED else {})
    most = f"at most {high:+.4f}" if high < UNBOUNDED else "no upper bound yet"
    seen = f"loss {mean:+.4f} against the release before, at least {low:+.4f}, {most}, "
    seen += f"in {_counted(len(means), policy)}"
    if low > margin:
        return Finding(
            outcome=Outcome.FAIL, reason=f"quality is worse: {seen}; the margin is {margin:g}", numbers=numbers
        )
    outcome = Outcome.PASS if high <= margin else Outcome.UNPROVEN
    return Finding(outcome=outcome, reason=f"quality: {seen}, margin {margin:g}", numbers=numbers)


def _counted(periods: int, policy: RolloutPolicy) -> str:
    if policy.period_days == 1:
        return f"{periods} day{'' if periods == 1 else 's'}"
    return f"{periods} period{'' if periods == 1 else 's'} of {policy.period_days} days"


def rising(steps: Sequence[int]) -> bool:
    """Whether these are steps of a rollout: percent, rising from at least 1 to 100."""
    return bool(steps) and steps[0] >= 1 and steps[-1] == 100 and all(low < high for low, high in pairwise(steps))


def shares(rollout: Rollout, percent: int) -> tuple[Share, ...]:
    """The traffic split that gives the candidate `percent`, or part of it where it has rivals."""
    if percent == 100 or rollout.incumbent is None:
        return (Share(release=rollout.candidate, percent=100),)
    if percent == 0:
        return (Share(release=rollout.incumbent, percent=100),)
    each, more = divmod(percent, len(rollout.challengers))
    return (
        Share(release=rollout.incumbent, percent=100 - percent),
        *(Share(release=release, percent=each + (place < more)) for place, release in enumerate(rollout.challengers)),
    )
