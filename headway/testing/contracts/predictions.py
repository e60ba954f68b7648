"""What holds for the index of predictions, labels and sums of quality."""

from __future__ import annotations

import math
from datetime import date, timedelta

import pytest

from headway.errors import Conflict
from headway.lifecycle.predictions.records import Captured, Label, Quality
from headway.lifecycle.rollouts.records import RewardDay
from headway.testing.contracts.state import State


class PredictionStoreContract:
    def test_captured_predictions_are_found(self, state: State) -> None:
        captured = [_captured(state, row) for row in range(1200)]
        captured[0] = captured[0].but(score=None, mirror_release="rl_2", mirror_score=0.25)
        with state.act():
            assert state.stores.predictions.index(captured) == []
            assert state.stores.predictions.index([]) == []
        found = state.stores.predictions.find([*(each.id for each in captured), "unknown"])
        assert found == {each.id: each for each in captured}
        assert state.stores.predictions.find([]) == {}

    def test_what_is_there_already_stays_as_it_was(self, state: State) -> None:
        old, new, newer = (_captured(state, row) for row in range(3))
        with state.act():
            state.stores.predictions.index([old])
        with state.act():
            assert state.stores.predictions.index([old.but(row=9), new, newer, newer.but(row=8)]) == [old.id, newer.id]
            assert state.stores.predictions.index([old]) == [old.id]
        assert state.stores.predictions.find([old.id, new.id, newer.id]) == {
            each.id: each for each in (old, new, newer)
        }

    def test_a_score_that_is_not_a_number_is_none(self, state: State) -> None:
        captured = _captured(state, 0).but(score=math.nan, mirror_score=math.nan)
        with state.act():
            state.stores.predictions.index([captured])
        assert state.stores.predictions.find([captured.id])[captured.id] == captured.but(score=None, mirror_score=None)

    def test_the_probabilities_of_classes_and_labels_by_name(self, state: State) -> None:
        several = _captured(state, 0).but(probabilities=(0.1, 0.2 + 0.1, 0.6), mirror_probabilities=(1.0, 0.0))
        number = _captured(state, 1)
        labels = [Label(prediction=several.id, value="straße"), Label(prediction=number.id, value=2.0)]
        with state.act():
            state.stores.predictions.index([several, number])
            state.stores.predictions.label(labels)
        assert state.stores.predictions.find([several.id, number.id]) == {several.id: several, number.id: number}
        assert list(state.stores.predictions.labels([several.id, number.id]).values()) == labels

    def test_the_last_event_of_a_deployment(self, state: State) -> None:
        now = state.clock.now()
        times = [now + timedelta(microseconds=shift) for shift in (5, 9, 7)]
        with state.act():
            state.stores.predictions.index([_captured(state, 0).but(event_at=at) for at in times])
        with state.act():
            state.stores.predictions.index([_captured(state, 0).but(event_at=now)])
            state.stores.predictions.index(
                [_captured(state, 0).but(event_at=now + timedelta(days=1), deployment="other")]
            )
        assert state.stores.predictions.last_event_at("late") == times[1]
        assert state.stores.predictions.last_event_at("unknown") is None

    def test_a_failed_act_indexes_nothing(self, state: State) -> None:
        captured = _captured(state, 0)

        def fail() -> None:
            with state.act():
                state.stores.predictions.index([captured])
                state.stores.predictions.label([Label(prediction=captured.id, value=1.0)])
                raise Conflict("changed its mind")

        with pytest.raises(Conflict):
            fail()
        assert state.stores.predictions.find([captured.id]) == {}
        assert state.stores.predictions.labels([captured.id]) == {}
        assert state.stores.predictions.last_event_at("late") is None

    def test_the_first_label_stays(self, state: State) -> None:
        first = Label(prediction="pr_1", value=1.0, at=state.clock.now())
        with state.act():
            state.stores.predictions.label([first, Label(prediction="pr_2", value=0.0)])
            state.stores.predictions.label([])
        with state.act():
            state.stores.predictions.label([first.but(value=0.0), Label(prediction="pr_3", value=0.5)])
        labels = state.stores.predictions.labels(["pr_1", "pr_2", "pr_3", "pr_4"])
        assert labels == {
            "pr_1": first,
            "pr_2": Label(prediction="pr_2", value=0.0),
            "pr_3": Label(prediction="pr_3", value=0.5),
        }

    def test_sums_of_quality_add_up(self, state: State) -> None:
        sums = {"n": 2, "loss": 0.5, "loss_squares": 0.25, "paired_n": 1, "paired": -0.5, "paired_squares": 0.125}
        one = Quality(deployment="late", release="rl_1", day="2026-01-02", rival="rl_2").but(**sums)
        with state.act():
            state.stores.predictions.add_quality([one, one.but(day="2026-01-01"), one])
        with state.act():
            state.stores.predictions.add_quality(
                [one, one.but(release="rl_0"), one.but(deployment="other"), one.but(rival="")]
            )
        thrice = one.but(n=6, loss=1.5, loss_squares=0.75, paired_n=3, paired=-1.5, paired_squares=0.375)
        ask = state.stores.predictions.quality
        assert ask("late", "rl_1") == [one.but(day="2026-01-01"), one.but(rival=""), thrice]
        assert ask("late", since_day="2026-01-02") == [one.but(release="rl_0"), one.but(rival=""), thrice]
        assert ask("unknown") == []

    def test_sums_of_rewards_add_up(self, state: State) -> None:
        one = RewardDay(release="rl_1", day=date(2026, 1, 2), n=2, total=-0.5, squares=0.25, outside=1)
        earlier, other = one.but(day=date(2026, 1, 1)), one.but(release="rl_0")
        with state.act():
            state.stores.predictions.add_rewards("ro_1", [one, earlier, one])
        with state.act():
            state.stores.predictions.add_rewards("ro_1", [one, other])
            state.stores.predictions.add_rewards("ro_2", [one])
            state.stores.predictions.add_rewards("ro_2", [])
        thrice = one.but(n=6, total=-1.5, squares=0.75, outside=3)
        assert state.stores.predictions.rewards("ro_1") == [earlier, other, thrice]
        assert state.stores.predictions.rewards("ro_2") == [one]
        assert state.stores.predictions.rewards("ro_3") == []


def _captured(state: State, row: int) -> Captured:
    return Captured(
        id=state.ids("pr"), deployment="late", segment="sg_1", row=row, release="rl_1",
        event_at=state.clock.now() + timedelta(microseconds=row), score=row / 7,
    )  # fmt: skip
