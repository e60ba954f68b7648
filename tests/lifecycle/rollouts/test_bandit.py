"""A bandit: what labels say of each release, the shares that follow, and when it ends."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.kernel.distributions import log_beta, student_t_cdf
from headway.lifecycle.environments.records import Reward, RolloutKind, RolloutPolicy
from headway.lifecycle.rollouts.bandit import by_days, chances, counted, earned, posterior, weights
from headway.lifecycle.rollouts.records import Health, RewardDay, Rollout, RolloutState, Standing, Tally
from headway.lifecycle.rollouts.rules import Advance, Decision, Drop, Hold, RollBack, Weigh, next_step

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = date(2026, 1, 1)
POLICY = RolloutPolicy(kind=RolloutKind.BANDIT, steps=(50, 100), patience_s=3600)
ARMS = ("rl_old", "rl_new")
SOUND = Tally(requests=3000)


def day(place: int, release: str, n: int, total: float, squares: float = 0.0) -> RewardDay:
    return RewardDay(release=release, day=FIRST + timedelta(days=place), n=n, total=total, squares=squares or total)


def days(old: tuple[int, float], new: tuple[int, float], count: int = 8) -> tuple[RewardDay, ...]:
    """`count` days of (labels, share that earned 1), a little different from day to day."""
    found = []
    for place in range(count):
        for release, (n, share) in zip(ARMS, (old, new), strict=True):
            found.append(day(place, release, n, round(n * share) + (place + (release == "rl_new")) % 3 - 1))
    return tuple(found)


def rollout(**fields: Any) -> Rollout:
    told = {"steps": (50, 100), "state": RolloutState.RUNNING, "step": 0, "step_at": NOW, "reward": Reward.OUTCOME}
    return Rollout(
        id="ro_1", created_at=NOW, deployment="d", change="", candidate="rl_new", incumbent="rl_old",
        **(told | fields),
    )  # fmt: skip


def decided(rewards: tuple[RewardDay, ...], **fields: Any) -> Decision:
    tally, tallies = fields.pop("tally", SOUND), fields.pop("tallies", {})
    health = Health(candidate=tally, tallies=tallies, rewards=rewards, newest_day=date(2026, 3, 1))
    late_s = fields.pop("late_s", 60)
    return next_step(rollout(**fields), health, POLICY, NOW + timedelta(seconds=late_s))


CLEAR, CLOSE = days((100, 0.3), (100, 0.5)), days((100, 0.30), (100, 0.31), 3)
SETTLED = (
    Standing(release="rl_old", percent=42, n=300, mean=0.3, chance=0.4),
    Standing(release="rl_new", percent=58, n=250, mean=0.31, chance=0.6),
)

TABLE: list[tuple[str, tuple[RewardDay, ...], dict[str, Any], type]] = [
    ("the first share comes first", (), {"state": RolloutState.PENDING, "step": -1}, Advance),
    ("without labels it holds", (), {}, Hold),
    ("a few labels of one are too few", days((100, 0.3), (2, 0.5)), {}, Hold),
    ("labels move the shares", CLOSE, {}, Weigh),
    ("a better candidate ends it", CLEAR, {}, Advance),
    ("a better release before ends it", days((100, 0.5), (100, 0.3)), {}, RollBack),
    ("four days do not end it", days((200, 0.3), (200, 0.5), 4), {}, Weigh),
    ("few labels do not end it", days((20, 0.2), (20, 0.8)), {}, Weigh),
    ("a batch has to be full", CLOSE, {"standing": SETTLED}, Hold),
    ("errors send the candidate back", CLEAR, {"tally": Tally(requests=300, errors=60)}, RollBack),
    ("errors that are not ruled out hold it", CLEAR, {"tally": Tally(requests=30)}, Hold),
    ("a pause holds the shares", CLOSE, {"state": RolloutState.PAUSED}, Hold),
    (
        "a pause does not hold harm",
        CLEAR,
        {"state": RolloutState.PAUSED, "tally": Tally(requests=100, errors=60)},
        RollBack,
    ),
    ("patience ends", CLOSE, {"late_s": 4000}, RollBack),
    ("what is decided is a rollout as any other", CLEAR, {"step": 1}, Hold),
]


@pytest.mark.parametrize(("rewards", "fields", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_is_decided(rewards: tuple[RewardDay, ...], fields: dict[str, Any], wanted: type) -> None:
    assert type(decided(rewards, **dict(fields))) is wanted


THREE = (*CLEAR, *(each.but(release="rl_more", total=each.total + 20) for each in CLEAR if each.release == "rl_new"))


def test_the_best_of_several_takes_the_candidates_place() -> None:
    decision = decided(THREE, rivals=("rl_more",), tallies={"rl_more": SOUND})
    assert isinstance(decision, Advance)
    assert decision.winner == "rl_more"
    unproven = decided(THREE, rivals=("rl_more",), tallies={"rl_more": Tally(requests=30)})
    assert isinstance(unproven, Hold)


def test_one_of_several_that_fails_is_dropped() -> None:
    standing = (
        Standing(release="rl_old", percent=20, n=300, mean=0.3, chance=0.1),
        Standing(release="rl_new", percent=60, n=250, mean=0.31, chance=0.8),
        Standing(release="rl_more", percent=20, n=250, mean=0.3, chance=0.1),
    )
    decision = decided(
        THREE, rivals=("rl_more",), standing=standing, tallies={"rl_more": Tally(requests=300, errors=60)},
        state=RolloutState.PAUSED,
    )  # fmt: skip
    assert isinstance(decision, Drop)
    assert decision.release == "rl_more"
    assert [(one.release, one.percent, one.n) for one in decision.standing] == [
        ("rl_old", 30, 300),
        ("rl_new", 70, 250),
    ]


def test_rows_of_few_good_days_do_not_end_it() -> None:
    """By rows the candidate is better beyond doubt, but the days do not agree on it."""
    stray = (0.8, 0.3, 0.9, 0.2, 0.85, 0.25)
    rewards = tuple(
        each
        for place, share in enumerate(stray)
        for each in (day(place, "rl_old", 1000, 500), day(place, "rl_new", 1000, 1000 * share))
    )
    decision = decided(rewards)
    assert isinstance(decision, Weigh)
    assert decision.standing[1].chance > 0.99
    assert by_days(rewards, ARMS, "rl_new").chance < 0.8


def test_the_evidence_of_a_move_stands_beside_its_shares() -> None:
    decision = decided(CLOSE)
    assert isinstance(decision, Weigh)
    old, new = decision.standing
    assert (old.release, new.release, old.n, new.n) == (*ARMS, 300, 300)
    assert old.percent + new.percent == 100
    assert old.chance + new.chance == pytest.approx(1)
    assert old.percent == pytest.approx(10 + 80 * old.chance, abs=1)
    assert "is the best with probability" in decision.reason


def test_labels_that_cannot_be_rewards_are_told() -> None:
    decision = decided((RewardDay(release="rl_new", day=FIRST, outside=7),))
    assert isinstance(decision, Hold)
    assert "7 are outside of what outcome may be" in decision.reason


def test_rewards_beyond_all_scale_are_compared() -> None:
    """Far from zero, far apart, almost without spread: the arithmetic holds."""
    for mean, spread in ((1e99, 1e98), (-1e99, 1.0), (1e-99, 1e-99), (0.0, 1e50)):
        values = [mean + spread * each for each in (-1, 0, 1)] * 10
        one = posterior(day(0, "x", 30, sum(values), sum(each * each for each in values)), Reward.VALUE)
        found = chances([one, posterior(day(0, "y", 30, 15.0, 7.5), Reward.VALUE)])
        assert sum(found) == pytest.approx(1)
        assert all(math.isfinite(each) for each in found)


def test_labels_that_may_still_come_are_waited_for() -> None:
    rewards = days((10, 0.5), (10, 0.5), 4)
    newest = FIRST + timedelta(days=3)
    assert {one.day for one in counted(rewards, newest, 1)} == {FIRST, FIRST + timedelta(days=1)}
    assert counted(rewards, newest, 0) == list(rewards)
    assert counted(rewards, None, 1) == []


@pytest.mark.parametrize(
    ("a", "b"), [((20, 5), (20, 9)), ((300, 40), (25, 6)), ((50, 50), (50, 0)), ((9000, 3), (40, 0))]
)
def test_shares_that_earn_are_compared_exactly(a: tuple[int, int], b: tuple[int, int]) -> None:
    """Against the sum for whole numbers (Miller 2015, evanmiller.org/bayesian-ab-testing.html)."""
    first, second = (posterior(day(0, "x", n, total), Reward.CORRECT) for n, total in (a, b))
    exact = math.fsum(
        math.exp(log_beta(first.a + i, first.b + second.b) - math.log(second.b + i) - log_beta(1 + i, second.b)
                 - log_beta(first.a, first.b))
        for i in range(round(second.a))
    )  # fmt: skip
    assert chances([first, second])[1] == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize("gain", [-2.0, -0.5, 0.0, 0.7, 3.0])
def test_a_mean_of_unknown_spread_is_compared_by_student(gain: float) -> None:
    """Against a release that is known to a hair, the chance is Student's distribution function."""
    values = [gain + each for each in (-3, -1, 0, 1, 3)] * 5
    unsure = posterior(day(0, "x", 25, sum(values), sum(each * each for each in values)), Reward.VALUE)
    known = posterior(day(0, "y", 25, 0.0, 1e-12), Reward.VALUE)
    wanted = student_t_cdf(unsure.middle / unsure.deviation, 24)
    assert chances([known, unsure])[1] == pytest.approx(wanted, abs=2e-4)


def test_rewards_without_any_spread_are_compared() -> None:
    same, more = (posterior(day(0, "x", 20, each * 20, each * each * 20), Reward.VALUE) for each in (1.0, 2.0))
    assert chances([same, same]) == pytest.approx([0.5, 0.5])
    assert chances([same, more]) == pytest.approx([0.0, 1.0])


COUNTS = st.integers(20, 3000).flatmap(lambda n: st.tuples(st.just(n), st.floats(0, n)))


@settings(deadline=None)
@given(st.lists(COUNTS, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_chances_sum_to_one_in_whatever_order(counts: list[tuple[int, float]], chance: Any) -> None:
    posteriors = [posterior(day(0, "x", n, total), Reward.BRIER) for n, total in counts]
    found = chances(posteriors)
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0
    order = list(range(len(counts)))
    chance.shuffle(order)
    assert chances([posteriors[place] for place in order]) == pytest.approx([found[place] for place in order], abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda each: sum(each) > 0), st.integers(1, 50))
def test_shares_keep_their_floor_and_the_order_of_chances(raw: list[float], floor: int) -> None:
    likely = [each / sum(raw) for each in raw]
    found = weights(likely, floor)
    assert sum(found) == 100
    assert min(found) >= min(floor, 100 // len(raw))
    for one, its in zip(likely, found, strict=True):
        for other, theirs in zip(likely, found, strict=True):
            assert its >= theirs or one <= other


REWARDS = st.lists(
    st.builds(day, st.integers(0, 12), st.sampled_from(ARMS), st.integers(1, 400), st.just(0.0)).flatmap(
        lambda one: st.floats(0, one.n).map(lambda total: one.but(total=total, squares=total))
    ),
    max_size=24,
    unique_by=lambda one: (one.day, one.release),
)


@settings(deadline=None)
@given(REWARDS, st.sampled_from(list(Reward)), st.booleans(), st.integers(0, 7200))
def test_a_decision_keeps_its_promises(rewards: list[RewardDay], reward: Reward, paused: bool, late_s: int) -> None:
    state = RolloutState.PAUSED if paused else RolloutState.RUNNING
    decision = decided(tuple(rewards), reward=reward, state=state, late_s=late_s)
    sums = earned(rewards, ARMS)
    common = by_days(rewards, ARMS, "rl_new").days
    enough = min(one.n for one in sums) >= POLICY.arm_labels and common >= POLICY.arm_days
    match decision:
        case Weigh(standing=standing):
            assert sum(one.percent for one in standing) == 100
            assert min(one.percent for one in standing) >= POLICY.arm_floor
            assert not paused
            assert late_s <= POLICY.patience_s
        case Advance():
            assert enough
            assert not paused
        case RollBack():
            assert enough or late_s > POLICY.patience_s
