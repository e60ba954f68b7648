from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.lifecycle.environments.records import RolloutPolicy
from headway.lifecycle.models.records import Signature
from headway.lifecycle.rollouts.records import Health, Paired, Rollout, RolloutState, Tally
from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.lifecycle.rollouts.rules import Advance, Hold, Promote, RollBack, next_step, shares

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RolloutPolicy(min_requests=100, min_labels=100, patience_s=3600)
GOOD = Health(
    candidate=Tally(requests=3000),
    incumbent=Tally(requests=20_000),
    quality=Paired(n=5000, total=-10.0, squares=50.0),
    step_requests=1000,
    step_labels=1000,
)
NO_LABELS = GOOD.but(quality=Paired(), step_labels=0)
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
    ("few requests hold it", {}, GOOD.but(step_requests=99), Hold),
    ("few labels hold it", {}, GOOD.but(step_labels=99), Hold),
    ("errors send it back", {}, GOOD.but(candidate=Tally(requests=300, errors=60)), RollBack),
    ("errors at the last step send it back", {"step": 2}, ERRORS, RollBack),
    ("slowness sends it back", {}, GOOD.but(candidate=Tally(requests=300, slow=90)), RollBack),
    ("worse predictions send it back", {}, GOOD.but(quality=Paired(n=5000, total=100.0, squares=50.0)), RollBack),
    ("errors that may still be few hold it", {}, GOOD.but(candidate=Tally(requests=120, errors=2)), Hold),
    ("quality that nobody knows holds it", {}, GOOD.but(quality=Paired()), Hold),
    ("a first release is watched too", {"incumbent": None, "steps": (100,)}, Health(), Hold),
    ("a first release has nobody to compare with", {"incumbent": None, "steps": (100,)}, NO_LABELS, Promote),
    ("a first release can fail", {"incumbent": None, "steps": (100,)}, ERRORS, RollBack),
]


@pytest.mark.parametrize(("story", "fields", "health", "decision"), TABLE)
def test_what_a_rollout_does_next(story: str, fields: dict[str, Any], health: Health, decision: type) -> None:
    assert isinstance(next_step(rollout(**fields), health, POLICY, NOW), decision), story


def test_a_step_that_stays_undecided_goes_back_when_patience_ends() -> None:
    undecided = GOOD.but(quality=Paired())
    later = NOW + timedelta(seconds=3601)
    decision = next_step(rollout(), undecided, POLICY, later)
    assert isinstance(decision, RollBack)
    assert "unproven" in decision.reason


@given(
    st.integers(0, 2), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.floats(-50, 50), st.booleans()
)
def test_it_never_moves_up_while_anything_is_unproven(
    step: int, requests: int, errors: int, labels: int, total: float, live: bool
) -> None:
    health = Health(
        candidate=Tally(requests=requests, errors=min(errors, requests)),
        quality=Paired(n=labels, total=total, squares=total**2),
        step_requests=requests,
        step_labels=labels,
        live=live,
    )
    decision = next_step(rollout(step=step), health, POLICY, NOW)
    if isinstance(decision, Advance):
        assert live
        assert requests >= POLICY.min_requests
        assert labels >= POLICY.min_labels
        assert step < 2
        assert decision.step == step + 1
    if errors > requests * 0.5 and requests > 50:
        assert isinstance(decision, RollBack | Hold)


@given(st.sampled_from([0, 10, 50, 99, 100]), st.booleans())
def test_shares_add_up(percent: int, first: bool) -> None:
    found = shares(rollout(incumbent=None if first else "rl_old"), percent)
    assert sum(share.percent for share in found) == 100
    assert all(share.percent > 0 for share in found)


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
