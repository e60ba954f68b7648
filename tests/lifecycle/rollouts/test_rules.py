from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.lifecycle.environments.records import RolloutPolicy
from headway.lifecycle.models.records import Signature
from headway.lifecycle.rollouts.periods import period_means
from headway.lifecycle.rollouts.records import Health, PairedDay, Pin, Rollout, RolloutState, Tally
from headway.lifecycle.rollouts.routing import PinIndex, Route, RoutingTable
from headway.lifecycle.rollouts.rules import Advance, Hold, Promote, RollBack, next_step, rising, shares

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RolloutPolicy(min_requests=100, min_labels=100, patience_s=3600)
FIRST = date(2026, 1, 1)


def days(*means: float, n: int = 200) -> tuple[PairedDay, ...]:
    return tuple(PairedDay(day=FIRST + timedelta(days=place), n=n, total=n * mean) for place, mean in enumerate(means))


GOOD = Health(
    candidate=Tally(requests=3000),
    incumbent=Tally(requests=20_000),
    quality=days(-0.004, 0.001, -0.003, -0.006, 0.0, -0.002, -0.005, 0.002),
    newest_day=date(2026, 2, 1),
    step_requests=1000,
    step_labels=1000,
)
NO_LABELS = GOOD.but(quality=(), step_labels=0)
ERRORS = GOOD.but(candidate=Tally(requests=900, errors=90))


def rollout(**fields: Any) -> Rollout:
    given_ = {"steps": (10, 50, 100), "state": RolloutState.RUNNING, "step": 0, "step_at": NOW, "incumbent": "rl_old"}
    return Rollout(
        id="ro_1", created_at=NOW, deployment="d", change="ch_1", candidate="rl_new",
        **(given_ | fields),
    )  # fmt: skip


TABLE = [
    ("a new rollout takes its first step", {"state": RolloutState.PENDING, "step": -1}, Health(), Advance),
    ("good evidence moves it up", {}, GOOD, Advance),
    ("the last step promotes", {"step": 2}, GOOD, Promote),
    ("servers that lag behind hold it", {}, GOOD.but(live=False), Hold),
    ("servers that end again and again send it back", {}, GOOD.but(ends=5, live=False), RollBack),
    ("servers that ended now and then do not", {}, GOOD.but(ends=4), Advance),
    ("few requests hold it", {}, GOOD.but(step_requests=99), Hold),
    ("few labels hold it", {}, GOOD.but(step_labels=99), Hold),
    ("errors send it back", {}, GOOD.but(candidate=Tally(requests=300, errors=60)), RollBack),
    ("errors at the last step send it back", {"step": 2}, ERRORS, RollBack),
    ("slowness sends it back", {}, GOOD.but(candidate=Tally(requests=300, slow=90)), RollBack),
    ("worse predictions send it back", {}, GOOD.but(quality=days(0.08, 0.06, 0.09, 0.07, 0.05)), RollBack),
    ("a catastrophe shows on the third day", {}, GOOD.but(quality=days(0.3, 0.32, 0.29)), RollBack),
    ("two days prove nothing, whatever they say", {}, GOOD.but(quality=days(0.3, 0.3001, n=10**6)), Hold),
    ("four good days are too few to move up", {}, GOOD.but(quality=days(-0.01, -0.011, -0.01, -0.012)), Hold),
    ("one storm does not send a good one back", {}, GOOD.but(quality=days(0.09, -0.01, 0.0, -0.01, 0.0)), Hold),
    ("many rows of few days do not hide one", {}, GOOD.but(quality=days(-0.01, 0.09, 0.0, -0.01, n=10**6)), Hold),
    ("worse, but within the margin, moves up", {}, GOOD.but(quality=days(0.004, 0.005, 0.004, 0.003, 0.005)), Advance),
    ("an equal twin moves up", {}, GOOD.but(quality=days(0.0, 0.0, 0.0, 0.0, 0.0)), Advance),
    ("around the margin it holds", {}, GOOD.but(quality=days(0.0, 0.02, 0.01, 0.03, -0.01, 0.02)), Hold),
    ("days with few labels do not count", {}, GOOD.but(quality=days(0.3, 0.32, 0.29, n=29)), Hold),
    (
        "the day that goes on does not count",
        {},
        GOOD.but(quality=days(0.3, 0.32, 0.29), newest_day=date(2026, 1, 4)),
        Hold,
    ),
    ("no event, no day", {}, GOOD.but(newest_day=None), Hold),
    ("errors that may still be few hold it", {}, GOOD.but(candidate=Tally(requests=120, errors=2)), Hold),
    ("quality that nobody knows holds it", {}, GOOD.but(quality=()), Hold),
    ("a first release is watched too", {"incumbent": None, "steps": (100,)}, Health(), Hold),
    ("a first release has nobody to compare with", {"incumbent": None, "steps": (100,)}, NO_LABELS, Promote),
    ("a first release can fail", {"incumbent": None, "steps": (100,)}, ERRORS, RollBack),
]


@pytest.mark.parametrize(("story", "fields", "health", "decision"), TABLE)
def test_what_a_rollout_does_next(story: str, fields: dict[str, Any], health: Health, decision: type) -> None:
    assert isinstance(next_step(rollout(**fields), health, POLICY, NOW), decision), story


def test_a_step_that_stays_undecided_goes_back_when_patience_ends() -> None:
    undecided = GOOD.but(quality=())
    later = NOW + timedelta(seconds=3601)
    decision = next_step(rollout(), undecided, POLICY, later)
    assert isinstance(decision, RollBack)
    assert "unproven" in decision.reason


@given(
    st.integers(0, 2), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500),
    st.lists(st.floats(-1, 1), max_size=8), st.booleans(),
)  # fmt: skip
def test_it_never_moves_up_while_anything_is_unproven(
    step: int, requests: int, errors: int, labels: int, means: list[float], live: bool
) -> None:
    health = Health(
        candidate=Tally(requests=requests, errors=min(errors, requests)),
        quality=days(*means),
        newest_day=date(2026, 2, 1),
        step_requests=requests,
        step_labels=labels,
        live=live,
    )
    decision = next_step(rollout(step=step), health, POLICY, NOW)
    if isinstance(decision, Advance):
        assert live
        assert requests >= POLICY.min_requests
        assert labels >= POLICY.min_labels
        assert len(means) >= 5
        assert sum(means) / len(means) <= POLICY.quality_margin
        assert step < 2
        assert decision.step == step + 1
    if errors > requests * 0.5 and requests > 50:
        assert isinstance(decision, RollBack | Hold)


@pytest.mark.parametrize(
    ("period_days", "lag", "newest", "periods"), [
        (1, 0, date(2026, 1, 6), 5), (1, 1, date(2026, 1, 6), 4), (1, 3, date(2026, 1, 6), 2), (1, 1, FIRST, 0),
        (2, 0, date(2026, 1, 7), 3), (2, 1, date(2026, 1, 7), 2), (7, 1, date(2026, 3, 1), 2),
    ],
)  # fmt: skip
def test_which_periods_count(period_days: int, lag: int, newest: date, periods: int) -> None:
    policy = POLICY.but(period_days=period_days, label_lag_days=lag)
    assert len(period_means(days(*range(8)), newest, policy)) == periods


def test_a_period_is_the_mean_of_its_rows_and_periods_do_not_depend_on_where_the_days_begin() -> None:
    policy = POLICY.but(period_days=7)
    whole = [PairedDay(day=date(2026, 1, 5) + timedelta(days=one), n=10 * (one + 1), total=one) for one in range(14)]
    first, second = period_means(whole, date(2026, 3, 1), policy)
    assert first == pytest.approx(sum(range(7)) / sum(10 * (one + 1) for one in range(7)))
    assert period_means(whole[7:], date(2026, 3, 1), policy) == [second]
    assert period_means(reversed(whole), date(2026, 3, 1), policy) == [first, second]


def test_days_that_stray_together_do_not_turn_back_a_good_candidate() -> None:
    """Equal models, days that stray three times as far as their rows do: a rule on rows turns back one in twelve."""
    chance = random.Random(3)
    back = up = 0
    for _ in range(300):
        means = [chance.gauss(0, 0.01) for _ in range(30)]
        decisions = (next_step(rollout(), GOOD.but(quality=days(*means[:n], n=900)), POLICY, NOW) for n in range(1, 31))
        decided = next((one for one in decisions if not isinstance(one, Hold)), None)
        back += isinstance(decided, RollBack)
        up += isinstance(decided, Advance)
    assert back <= 3
    assert up >= 200


@given(st.sampled_from([0, 10, 50, 99, 100]), st.booleans())
def test_shares_add_up(percent: int, first: bool) -> None:
    found = shares(rollout(incumbent=None if first else "rl_old"), percent)
    assert sum(share.percent for share in found) == 100
    assert all(share.percent > 0 for share in found)


@pytest.mark.parametrize(
    ("steps", "fine"),
    [((100,), True), ((5, 25, 100), True), ((), False), ((5, 25), False), ((0, 100), False), ((50, 50, 100), False)],
)
def test_steps_rise_to_all(steps: tuple[int, ...], fine: bool) -> None:
    assert rising(steps) is fine


@pytest.mark.parametrize(
    ("health", "waited_s", "decision"), [
        (GOOD, 0, Hold), (ERRORS, 0, RollBack), (GOOD.but(quality=()), 7200, Hold),
    ],
)  # fmt: skip
def test_a_paused_rollout_goes_nowhere_but_back(health: Health, waited_s: int, decision: type) -> None:
    paused = rollout(state=RolloutState.PAUSED)
    assert isinstance(next_step(paused, health, POLICY, NOW + timedelta(seconds=waited_s)), decision)


def test_the_pin_that_says_most_of_a_key_counts() -> None:
    pins = [
        Pin(key="acme-", release="rl_acme", starts_with=True), Pin(key="acme-eu-", release="rl_eu", starts_with=True),
        Pin(key="acme-eu-7", release="rl_seven"), Pin(key="solo", release="rl_solo"),
    ]  # fmt: skip
    index = PinIndex(pins)
    keys = ("acme-1", "acme-eu-1", "acme-eu-7", "acme-eu-77", "solo", "solo-1", "acme", "")
    found = [index.release(key) for key in keys]
    assert found == ["rl_acme", "rl_eu", "rl_seven", "rl_eu", "rl_solo", None, None, None]


def table(*percents: int) -> RoutingTable:
    signature = Signature(inputs=(), outputs=(), score="s")
    routes = tuple(
        Route(release=f"rl_{place}", model="m", version=place + 1, blob="", signature=signature, percent=percent)
        for place, percent in enumerate(percents)
    )
    return RoutingTable(deployment="d", generation=1, routes=routes)


@given(st.text(max_size=20), st.integers(1, 98), st.data())
def test_a_key_that_went_to_the_candidate_stays_there_as_its_share_grows(
    key: str, small: int, data: st.DataObject
) -> None:
    large = data.draw(st.integers(small, 99))
    if table(100 - small, small).choose(key).release == "rl_1":
        assert table(100 - large, large).choose(key).release == "rl_1"


def test_shares_of_traffic_are_kept() -> None:
    chosen = [table(70, 30).choose(f"key-{number}").release for number in range(20_000)]
    assert 0.28 < chosen.count("rl_1") / len(chosen) < 0.32
