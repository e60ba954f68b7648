"""Environments: named places with a gate, approvals and a rollout policy, declared by the project."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from headway.kernel.records import Record, Value


class CheckSpec(Value):
    """One named check that a gate demands, with its settings."""

    check: str
    settings: dict[str, Any] = {}


class RolloutKind(StrEnum):
    CANARY = "canary"
    """The candidate moves up unless it is shown to do harm."""
    AB = "ab"
    """The candidate stays at its first share until one of the two is shown to predict better."""
    BANDIT = "bandit"
    """Shares follow the chance that each release is the best by its labels, until one is likely enough to be."""


class Reward(StrEnum):
    """What a label says of the answer it is for, the higher the better. The first three lie from 0 to 1."""

    CORRECT = "correct"
    """1 where score and label are on the same side of one half, or the likeliest class is that of the label, else 0."""
    BRIER = "brier"
    """1 less the squared error of a probability; of several classes 1 less half of the sum of these."""
    OUTCOME = "outcome"
    """The label itself, such as 1 for what was bought."""
    LOSS = "loss"
    """The squared error, negative."""
    VALUE = "value"
    """The label itself, any number, such as what was paid."""

    @property
    def bounded(self) -> bool:
        return self in (Reward.CORRECT, Reward.BRIER, Reward.OUTCOME)


class RolloutPolicy(Value):
    """How traffic moves to a new release, and when it moves back.

    A step is left upwards only when enough was seen, and all of it speaks for the candidate; `alpha` bounds, for
    each question, the chance that a rollout which is looked at any number of times is decided wrongly.
    """

    kind: RolloutKind = RolloutKind.CANARY
    steps: tuple[int, ...] = (10, 50, 100)
    """Percent of traffic, rising, the last one 100."""
    min_requests: int = 200
    min_labels: int = 0
    """Labelled predictions needed at each step below 100 before quality is believed."""
    max_error_rate: float = 0.02
    latency_budget_us: int = 100_000
    max_slow_rate: float = 0.05
    """The share of requests that may be slower than the budget."""
    quality_margin: float = 0.01
    """How much worse (in mean loss) than the release before it the candidate may be."""
    period_days: int = 1
    """Days of events whose labels are one piece of evidence, because rows of one day resemble each other."""
    period_labels: int = 30
    """A period with fewer labels is no evidence yet."""
    label_lag_days: int = 1
    """How many more days labels may take to come before a period counts."""
    ab_periods: int = 30
    """After so many periods in which neither was shown to be better, what served before stays."""
    reward: Reward = Reward.LOSS
    """What a bandit maximises, and the one setting of it that is fixed when a rollout starts."""
    arm_floor: int = 10
    """Percent of the traffic that each release of a bandit keeps, so that it goes on being learned of."""
    batch_labels: int = 100
    """Labels that come between two moves of a bandit's shares."""
    arm_labels: int = 200
    """Labels of each release, and"""
    arm_days: int = 5
    """days of events with labels of all, before a bandit may end."""
    best_chance: float = 0.95
    """A bandit ends for the release that is the best with this probability, by its labels and by their days."""
    alpha: float = 0.05
    patience_s: float = 2_592_000.0
    """How long a step may stay undecided before the rollout goes back: 30 days, for quality takes days to tell."""
    mirror: bool = True
    """Score each captured request with the other release too, off the request's path: paired, so quicker to tell."""


class Environment(Record, prefix="en"):
    name: str
    gate: tuple[CheckSpec, ...] = ()
    approvals: int = 0
    """How many people other than the author must agree."""
    approvers: tuple[str, ...] = ()
    """Who may; empty for anyone with the approver's permission."""
    rollout: RolloutPolicy = RolloutPolicy()
