"""How a bandit does beside equal shares: reward lost, how often it ends for the worse release, and when.

    python benchmarks/bandit.py [--runs 100] [--days 60]

The rule as it is (`lifecycle/rollouts/rules.py`) with its defaults, on simulated days of requests whose label is 1 with
the share that the release earns. "Equal shares" is the same rule with a floor of 50 %, so that only the shares differ.
Lost reward is counted against the release that is better over all days, from the first request to the last day,
whatever was decided on the way. After the end all requests go to the winner. Figures in docs/statistics.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from time import process_time

import numpy as np

from headway.lifecycle.environments.records import Reward, RolloutKind, RolloutPolicy
from headway.lifecycle.rollouts.records import Health, RewardDay, Rollout, RolloutState, Tally
from headway.lifecycle.rollouts.rules import Advance, RollBack, Weigh, next_step

ARMS = ("old", "new")
LOOKS_A_DAY = 2
START = datetime(2026, 1, 1, tzinfo=UTC)
SOUND = Tally(requests=10**6)


@dataclass(frozen=True)
class Scene:
    """`stray` is the deviation between days of what both earn, `apart` that of each release by itself; labels come
    `delay_days` after their event, and those of 0 three days after those of 1 if `late_zeros`."""

    name: str
    requests_a_day: int = 400
    old: float = 0.3
    stray: float = 0.0
    apart: float = 0.0
    trend: float = 0.0
    """What the new release gains each day."""
    delay_days: int = 0
    late_zeros: bool = False
    lag_days: int = 0
    """What the policy declares as `label_lag_days`."""


@dataclass
class Arm:
    """Sums by day of events, as labels have come by now."""

    n: np.ndarray
    total: np.ndarray


class Trial:
    def __init__(self, scene: Scene, gain: float, floor: int, days: int, chance: np.random.Generator) -> None:
        self.scene, self.days, self.chance = scene, days, chance
        self.policy = RolloutPolicy(
            kind=RolloutKind.BANDIT, steps=(50, 100), reward=Reward.OUTCOME, arm_floor=floor,
            label_lag_days=scene.lag_days, patience_s=2 * days * 86_400.0,
        )  # fmt: skip
        shared = chance.normal(0, scene.stray, days) if scene.stray else np.zeros(days)
        own = chance.normal(0, scene.apart, (2, days)) if scene.apart else np.zeros((2, days))
        means = np.stack([np.full(days, scene.old), scene.old + gain + scene.trend * np.arange(days)])
        self.earns = np.clip(means + shared + own, 0.001, 0.999)
        self.coming: list[tuple[int, int, int, int, int]] = []
        """Labels on their way: day they come, arm, day of the event, how many, sum."""
        self.known = [Arm(np.zeros(days, dtype=int), np.zeros(days, dtype=int)) for _ in ARMS]
        self.rollout = Rollout(
            id="ro", created_at=START, deployment="d", change="", candidate="new", incumbent="old", steps=(50, 100),
            step=0, step_at=START, state=RolloutState.RUNNING, reward=Reward.OUTCOME,
        )  # fmt: skip

    def play(self) -> tuple[str, int, float]:
        """The winner ("" for none), the day of the end, and the reward lost by day 60 in labels of 1."""
        share, lost, winner, ended = 0.5, 0.0, "", self.days
        best = self.earns.mean(axis=1).argmax()
        for day in range(self.days):
            for look in range(LOOKS_A_DAY):
                asked = self.scene.requests_a_day // LOOKS_A_DAY
                new = int(self.chance.binomial(asked, share))
                for arm, n in enumerate((asked - new, new)):
                    lost += n * (self.earns[best, day] - self.earns[arm, day])
                    if not winner:
                        self.ask(arm, day, n)
                if winner:
                    continue
                decision = self.look(day, look)
                if isinstance(decision, Weigh):
                    self.rollout = self.rollout.but(standing=decision.standing)
                    share = self.rollout.percent / 100
                elif isinstance(decision, Advance | RollBack):
                    winner, ended = ("new" if isinstance(decision, Advance) else "old"), day + 1
                    share = float(winner == "new")
        return winner, ended, lost

    def ask(self, arm: int, day: int, n: int) -> None:
        ones = int(self.chance.binomial(n, self.earns[arm, day]))
        late = 3 if self.scene.late_zeros else 0
        self.coming.append((day + self.scene.delay_days, arm, day, ones, ones))
        self.coming.append((day + self.scene.delay_days + late, arm, day, n - ones, 0))

    def look(self, day: int, look: int) -> object:
        for _, arm, event, n, total in [each for each in self.coming if each[0] <= day]:
            self.known[arm].n[event] += n
            self.known[arm].total[event] += total
        self.coming = [each for each in self.coming if each[0] > day]
        rewards = tuple(
            RewardDay(
                release=release, day=date.fromordinal(738_000 + event), n=int(known.n[event]),
                total=float(known.total[event]), squares=float(known.total[event]),
            )
            for release, known in zip(ARMS, self.known, strict=True)
            for event in np.flatnonzero(known.n)
        )  # fmt: skip
        health = Health(candidate=SOUND, rewards=rewards, newest_day=date.fromordinal(738_000 + day))
        return next_step(self.rollout, health, self.policy, START + timedelta(days=day, hours=12 * look))


SCENES = (
    Scene("labels at once"),
    Scene("labels a day late, lag 1", delay_days=1, lag_days=1),
    Scene("labels three days late, lag 3", delay_days=3, lag_days=3),
    Scene("zeros three days late, lag 0", late_zeros=True),
    Scene("both stray by 0.05 from day to day", stray=0.05),
    Scene("each strays by 0.03 by itself", apart=0.03),
    Scene("the new one improves by 0.002 a day", trend=0.002),
)
GAINS = (-0.05, -0.02, 0.0, 0.02, 0.05, 0.1)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=100)
    options.add_argument("--days", type=int, default=60)
    options.add_argument("--scene", default="", help="only scenes whose name has this in it")
    told = options.parse_args()
    began = process_time()
    print(f"{told.runs} runs each; old earns 0.3; ended for new / for old in %, median day of the end, reward lost")
    for scene in (each for each in SCENES if told.scene in each.name):
        print(f"\n{scene.name}")
        for gain in GAINS:
            rows = [measured(scene, gain, floor, told.runs, told.days) for floor in (10, 50)]
            print(f"  gain {gain:+.2f}  bandit {rows[0]}   equal shares {rows[1]}")
    print(f"\n{process_time() - began:.0f} s of CPU time")


def measured(scene: Scene, gain: float, floor: int, runs: int, days: int) -> str:
    chance = np.random.default_rng([floor, round(1000 * (gain + 1))])
    trials = [Trial(scene, gain, floor, days, chance).play() for _ in range(runs)]
    ends = sorted(ended for _, ended, _ in trials)
    return f"{percent(trials, 'new')} /{percent(trials, 'old')}, {median(ends):4.0f}, {lost(trials):6.0f}"


def percent(trials: Sequence[tuple[str, int, float]], winner: str) -> str:
    return f"{100 * sum(each[0] == winner for each in trials) / len(trials):5.1f}"


def lost(trials: Sequence[tuple[str, int, float]]) -> float:
    return float(np.mean([each[2] for each in trials]))


if __name__ == "__main__":
    main()
