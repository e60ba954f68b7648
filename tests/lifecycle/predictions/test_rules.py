from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.lifecycle.environments.records import Reward
from headway.lifecycle.predictions.records import Captured, Label
from headway.lifecycle.predictions.rules import joined, paired_days, rewarded
from headway.lifecycle.rollouts.records import RewardDay, Rollout

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def captured(name: str, score: float | None, mirror: float | None = None) -> Captured:
    return Captured(
        id=name, deployment="d", segment="sg_1", row=0, release="rl_a", event_at=NOON, score=score,
        mirror_release=None if mirror is None else "rl_b", mirror_score=mirror,
    )  # fmt: skip


def test_a_mirrored_prediction_is_paired_from_both_sides() -> None:
    sums = joined({"p": captured("p", 0.2, 0.6)}, [Label(prediction="p", value=1.0)])
    (mine,), (theirs,) = paired_days(sums, "rl_a", "rl_b"), paired_days(sums, "rl_b", "rl_a")
    assert (mine.day, mine.n) == (theirs.day, theirs.n) == (NOON.date(), 1)
    assert mine.total == pytest.approx(0.64 - 0.16)
    assert theirs.total == pytest.approx(-mine.total)
    own = [quality for quality in sums if quality.n]
    assert [(quality.release, quality.n) for quality in own] == [("rl_a", 1)]


def test_a_failed_prediction_adds_nothing() -> None:
    assert joined({"p": captured("p", None)}, [Label(prediction="p", value=1.0)]) == []


def test_what_is_beyond_all_measure_adds_nothing() -> None:
    label = [Label(prediction="p", value=1e49)]
    assert joined({"p": captured("p", 1e200)}, label) == []
    [alone] = joined({"p": captured("p", 0.2, 1e200)}, label)
    assert (alone.n, alone.paired_n, alone.loss_squares) == (1, 0, pytest.approx(1e196))


@given(st.lists(st.tuples(st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1)), st.sampled_from([0.0, 1.0]))))
def test_sums_over_all_rows_are_the_sums_of_its_parts(rows: list[tuple[float, float | None, float]]) -> None:
    found = {str(place): captured(str(place), score, mirror) for place, (score, mirror, _) in enumerate(rows)}
    labels = [Label(prediction=str(place), value=label) for place, (_, _, label) in enumerate(rows)]
    whole = joined(found, labels)
    parts = [one for label in labels for one in joined(found, [label])]
    assert sum(quality.n for quality in whole) == len(rows) == sum(quality.n for quality in parts)
    assert sum(quality.loss for quality in whole) == pytest.approx(sum(quality.loss for quality in parts))
    paired = sum(one.n for one in paired_days(whole, "rl_a", "rl_b"))
    assert paired == sum(mirror is not None for _, mirror, _ in rows)


BANDIT = Rollout(
    id="ro_1", created_at=NOON, deployment="d", change="", candidate="rl_b", incumbent="rl_a", steps=(50, 100), step=0,
    reward=Reward.CORRECT, events_after=NOON - timedelta(hours=1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("reward", "score", "label", "wanted"),
    [
        (Reward.CORRECT, 0.7, 1.0, 1.0), (Reward.CORRECT, 0.7, 0.0, 0.0), (Reward.CORRECT, 0.5, 1.0, 1.0),
        (Reward.BRIER, 0.7, 1.0, 0.91), (Reward.BRIER, 0.7, 3.0, None), (Reward.LOSS, 7.0, 4.0, -9.0),
        (Reward.OUTCOME, 0.7, 1.0, 1.0), (Reward.OUTCOME, 0.7, 1.5, None), (Reward.VALUE, 0.7, -12.5, -12.5),
        (Reward.VALUE, 0.7, 1e300, None),
        (Reward.LOSS, 0.7, -1e200, None),
    ],
)  # fmt: skip
def test_what_a_label_earns(reward: Reward, score: float, label: float, wanted: float | None) -> None:
    [sums] = rewarded(BANDIT.but(reward=reward), {"p": captured("p", score)}, [Label(prediction="p", value=label)])
    assert (sums.release, sums.day) == ("rl_a", NOON.date())
    if wanted is None:
        assert (sums.n, sums.total, sums.outside) == (0, 0.0, 1)
    else:
        assert (sums.n, sums.outside) == (1, 0)
        assert (sums.total, sums.squares) == (pytest.approx(wanted), pytest.approx(wanted * wanted))


@pytest.mark.parametrize(
    ("reward", "label", "wanted"),
    [
        (Reward.CORRECT, "b", 1.0), (Reward.CORRECT, "a", 0.0), (Reward.CORRECT, "strange", 0.0),
        (Reward.BRIER, "b", 1 - (0.2**2 + 0.4**2 + 0.2**2) / 2), (Reward.LOSS, "b", -(0.2**2 + 0.4**2 + 0.2**2)),
        (Reward.VALUE, "b", None), (Reward.VALUE, 3.0, 3.0),
    ],
)  # fmt: skip
def test_what_the_label_of_a_class_earns(reward: Reward, label: str | float, wanted: float | None) -> None:
    one = captured("p", 0.6).but(probabilities=(0.2, 0.6, 0.2))
    labels = [Label(prediction="p", value=label)]
    [sums] = rewarded(BANDIT.but(reward=reward), {"p": one}, labels, lambda release: ("a", "b", "c"))
    if wanted is None:
        assert (sums.n, sums.outside) == (0, 1)
    else:
        assert (sums.n, sums.total) == (1, pytest.approx(wanted))


def test_what_is_no_evidence_of_a_bandit_earns_nothing() -> None:
    one, label = captured("p", 0.7), [Label(prediction="p", value=1.0)]
    for other in (
        one.but(score=None), one.but(release="rl_c"), one.but(deployment="e"),
        one.but(event_at=NOON - timedelta(hours=1)),
    ):  # fmt: skip
        assert rewarded(BANDIT, {"p": other}, label) == []
    assert len(rewarded(BANDIT.but(events_after=None), {"p": one.but(event_at=NOON - timedelta(days=9))}, label)) == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 1.0]), st.integers(0, 2)), max_size=20))
def test_rewards_do_not_depend_on_how_labels_are_grouped(rows: list[tuple[float, float, int]]) -> None:
    """However late and in whatever batches they come."""
    found = {
        str(place): captured(str(place), score).but(event_at=NOON + timedelta(days=day))
        for place, (score, _, day) in enumerate(rows)
    }
    labels = [Label(prediction=str(place), value=label) for place, (_, label, _) in enumerate(rows)]
    whole = {(one.release, one.day): one for one in rewarded(BANDIT, found, labels)}
    apart: dict[Any, RewardDay] = {}
    for label in reversed(labels):
        for one in rewarded(BANDIT, found, [label]):
            key = (one.release, one.day)
            apart[key] = apart[key] + one if key in apart else one
    assert apart == whole
