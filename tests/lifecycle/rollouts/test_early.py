"""A bad candidate at a small share goes back early, a good one seldom, and moves up without waiting for a clock."""

from __future__ import annotations

import numpy as np
import pytest

from headway.lifecycle.environments.records import RolloutPolicy
from headway.lifecycle.rollouts.records import Health, RolloutState, Tally
from headway.lifecycle.rollouts.rules import Advance, Hold, Promote, next_step
from tests.lifecycle.rollouts.early import AT_FIVE, NOW, requests_until_back

POLICY = RolloutPolicy(steps=(5, 100))
LOOKS = list(range(5, 2001, 5))


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
