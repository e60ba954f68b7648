"""A bad candidate at a small share goes back early, a good one seldom, and moves up without waiting for a clock."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest

from headway.lifecycle.environments.records import RolloutKind, RolloutPolicy
from headway.lifecycle.rollouts.records import Health, PairedDay, RolloutState, Tally
from headway.lifecycle.rollouts.rules import Advance, Hold, Promote, RollBack, next_step
from tests.lifecycle.rollouts.early import AT_FIVE, NOW, requests_until_back

POLICY = RolloutPolicy(steps=(5, 100))
LOOKS = list(range(5, 2001, 5))


def contest(true_loss: float, runs: int, seed: int = 7) -> Counter[str]:
    """How A/B contests end whose days differ by `true_loss` deviations between them, looked at each day."""
    chance, ends = random.Random(seed), Counter[str]()
    policy = POLICY.but(kind=RolloutKind.AB, steps=(50, 100))
    for _ in range(runs):
        days: tuple[PairedDay, ...] = ()
        decision = None
        while not isinstance(decision, Advance | RollBack):
            day = NOW.date() + timedelta(days=len(days))
            days += (PairedDay(day=day, n=100, total=chance.gauss(true_loss, 1.0)),)
            health = Health(
                candidate=Tally(requests=5000), step_requests=5000, quality=days, newest_day=day + timedelta(days=2)
            )
            decision = next_step(AT_FIVE, health, policy, NOW)
            assert len(days) <= policy.ab_periods
        ends["won" if isinstance(decision, Advance) else decision.reason.partition(":")[0]] += 1
    return ends


def test_of_two_equal_releases_neither_is_called_better() -> None:
    ends = contest(0.0, 400)
    assert ends["no difference was shown"] >= 400 * 0.95
    assert sum(ends.values()) == 400


def test_the_better_release_wins_a_contest() -> None:
    assert contest(-2.0, 100)["won"] >= 95
    assert contest(2.0, 100)["the release before predicts better"] >= 95


def test_a_contest_is_not_won_before_errors_are_known_to_be_few_and_is_lost_by_many() -> None:
    policy = POLICY.but(kind=RolloutKind.AB)
    better = tuple(PairedDay(day=NOW.date() + timedelta(days=n), n=100, total=-9 - n % 3) for n in range(10))
    health = Health(quality=better, newest_day=NOW.date() + timedelta(days=20))
    for tally, end in ((Tally(requests=100), Hold), (Tally(requests=900, errors=90), RollBack)):
        assert isinstance(next_step(AT_FIVE, health.but(candidate=tally), policy, NOW), end)
    won = next_step(AT_FIVE, health.but(candidate=Tally(requests=900)), policy, NOW)
    assert isinstance(won, Advance)
    assert won.step == 1


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.02])
def test_a_candidate_within_the_limit_goes_back_with_probability_alpha_at_most(rate: float) -> None:
    back = np.isfinite(requests_until_back(rate, LOOKS, POLICY, runs=4000)).mean()
    assert back <= POLICY.alpha


@pytest.mark.parametrize(("rate", "half", "most"), [(0.05, 400, 1500), (0.2, 40, 100), (0.5, 15, 30), (1.0, 5, 5)])
def test_a_bad_candidate_goes_back_after_few_requests(rate: float, half: int, most: int) -> None:
    delays = requests_until_back(rate, LOOKS, POLICY, runs=2000)
    assert np.quantile(delays, 0.5) <= half
    assert np.quantile(delays, 0.95) <= most


def test_a_good_candidate_is_promoted_by_what_it_shows_with_the_clock_standing_still() -> None:
    rollout, decision, requests, began = AT_FIVE, None, 0, 0
    while not isinstance(decision, Promote):
        requests += 10
        health = Health(candidate=Tally(requests=requests), step_requests=requests - began)
        decision = next_step(rollout, health, POLICY, NOW)
        assert isinstance(decision, Advance | Hold | Promote)
        if isinstance(decision, Advance):
            rollout, began = rollout.but(step=decision.step, state=RolloutState.RUNNING), requests
        assert requests < 2000
    assert requests <= 600
