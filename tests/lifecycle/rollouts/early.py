"""When a rollout that is looked at after each few requests goes back, found from `next_step` itself."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from headway.lifecycle.environments.records import RolloutPolicy
from headway.lifecycle.rollouts.records import Health, Rollout, RolloutState, Tally
from headway.lifecycle.rollouts.rules import RollBack, next_step

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AT_FIVE = Rollout(
    id="ro_1", created_at=NOW, deployment="d", change="", candidate="rl_new", incumbent="rl_old", steps=(5, 100),
    step=0, step_at=NOW, state=RolloutState.RUNNING,
)  # fmt: skip


def goes_back(errors: int, requests: int, policy: RolloutPolicy) -> bool:
    health = Health(candidate=Tally(requests=requests, errors=errors), step_requests=requests)
    return isinstance(next_step(AT_FIVE, health, policy, NOW), RollBack)


def fewest_errors(looks: list[int], policy: RolloutPolicy) -> list[int]:
    """For each count of requests, the fewest errors that send the candidate back; one more than all if none do."""
    found, least = [], 0
    for requests in looks:
        while least <= requests and not goes_back(least, requests, policy):
            least += 1
        found.append(least)
    return found


def requests_until_back(
    rate: float, looks: list[int], policy: RolloutPolicy, runs: int, seed: int = 1
) -> NDArray[np.float64]:
    """Of each run, the requests to the candidate at which it went back; infinity when it never did."""
    chance = np.random.default_rng(seed)
    steps = np.diff(looks, prepend=0)
    errors = np.cumsum(chance.binomial(steps, rate, (runs, len(looks))), axis=1)
    back = errors >= np.array(fewest_errors(looks, policy))
    return np.where(back.any(axis=1), np.array(looks, np.float64)[back.argmax(axis=1)], np.inf)


def main() -> None:
    """Print the table of docs/statistics.md."""
    policy, looks = RolloutPolicy(), [*range(1, 200), *range(200, 20_001, 10)]
    for rate in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0):
        delays = requests_until_back(rate, looks, policy, runs=10_000)
        half, most = np.quantile(delays, (0.5, 0.95), method="inverted_cdf")
        print(f"| {rate:.0%} | {np.isfinite(delays).mean():.1%} | {half:g} | {most:g} | {20 * most:g} |")


if __name__ == "__main__":
    main()
