"""What holds for metrics and steps of runs."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import Conflict
from headway.lifecycle.runs.records import Metric, StepRun, StepState
from headway.testing.contracts.state import State

_VALUES = st.floats() | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324])
_POINTS = st.lists(st.tuples(st.sampled_from("ab"), _VALUES, st.integers(-2, 2), st.integers(0, 2)), max_size=12)


class RunStoreContract:
    def test_points_come_back_in_the_order_of_writing(self, state: State) -> None:
        points = [_metric(state, "loss", value, step) for step, value in enumerate((3.0, math.nan, -math.inf, 1e-300))]
        with state.act():
            state.stores.runs.log("rn_1", points[:2])
            state.stores.runs.log("rn_1", [])
        with state.act():
            state.stores.runs.log("rn_1", points[2:])
            state.stores.runs.log("rn_2", points[:1])
        history = state.stores.runs.history("rn_1", "loss")
        assert [_seen(metric) for _, metric in history] == [_seen(point) for point in points]
        rest = state.stores.runs.history("rn_1", "loss", after=history[0][0], limit=2)
        assert rest[0][0] > history[0][0]
        assert [_seen(metric) for _, metric in rest] == [_seen(point) for point in points[1:3]]
        assert state.stores.runs.history("rn_1", "other") == []

    def test_a_point_is_kept_once(self, state: State) -> None:
        points = [_metric(state, "loss", math.nan, 1), _metric(state, "loss", 2.0, 1), _metric(state, "loss", 2.0, 1)]
        for _ in range(2):
            with state.act():
                state.stores.runs.log("rn_1", points)
        assert len(state.stores.runs.history("rn_1", "loss")) == 2

    def test_the_latest_is_at_the_largest_step_then_time(self, state: State) -> None:
        late = state.clock.now() + timedelta(seconds=1)
        points = [_metric(state, "a", 1.0, 2), _metric(state, "a", 9.0, 1).but(at=late), _metric(state, "b", 5.0, 0)]
        with state.act():
            state.stores.runs.log("rn_1", points)
        with state.act():
            state.stores.runs.log("rn_1", [_metric(state, "a", 0.5, 2).but(at=late), _metric(state, "b", 4.0, 0)])
            state.stores.runs.log("rn_2", [_metric(state, "a", math.nan, 0)])
        latest = state.stores.runs.latest(["rn_1", "rn_2", "rn_3"])
        assert latest["rn_1"] == {"a": 0.5, "b": 5.0}, "of two at one time the greater counts"
        assert math.isnan(latest["rn_2"]["a"])
        assert latest["rn_3"] == {}

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(points=_POINTS, cut=st.integers(0, 12))
    def test_any_points_are_kept_once_in_order_whatever_the_batches(
        self, state: State, points: list[tuple[str, float, int, int]], cut: int
    ) -> None:
        run, now = state.ids("rn"), state.clock.now()
        metrics = [
            Metric(key=key, value=value, step=step, at=now + timedelta(seconds=second))
            for key, value, step, second in points
        ]
        for batch in (metrics[:cut], metrics[cut:], metrics[:cut]):
            with state.act():
                state.stores.runs.log(run, batch)
        for key in "ab":
            seen = [_seen(metric) for _, metric in state.stores.runs.history(run, key)]
            assert seen == list(dict.fromkeys(_seen(metric) for metric in metrics if metric.key == key))
        assert state.stores.runs.latest([run])[run].keys() == {metric.key for metric in metrics}

    def test_a_failed_act_logs_nothing(self, state: State) -> None:
        def fail() -> None:
            with state.act():
                state.stores.runs.log("rn_1", [_metric(state, "loss", 1.0, 1)])
                raise Conflict("changed its mind")

        with pytest.raises(Conflict):
            fail()
        assert state.stores.runs.latest(["rn_1"]) == {"rn_1": {}}

    def test_nothing_is_logged_outside_an_act(self, state: State) -> None:
        with pytest.raises(RuntimeError, match="inside"):
            state.stores.runs.log("rn_1", [_metric(state, "loss", 1.0, 1)])

    def test_steps_keep_their_order_and_their_last_state(self, state: State) -> None:
        steps = [StepRun(step=name) for name in ("load", "train", "judge")]
        done = steps[1].but(state=StepState.DONE, ended_at=state.clock.now())
        with state.act():
            state.stores.runs.put_steps("rn_1", steps)
        with state.act():
            state.stores.runs.put_steps("rn_1", [done])
            state.stores.runs.put_steps("rn_2", steps[:1])
            state.stores.runs.put_steps("rn_2", [])
        assert state.stores.runs.steps("rn_1") == [steps[0], done, steps[2]]
        assert state.stores.runs.steps("rn_3") == []


def _metric(state: State, key: str, value: float, step: int) -> Metric:
    return Metric(key=key, value=value, step=step, at=state.clock.now())


def _seen(metric: Metric) -> tuple[object, ...]:
    """What tells one point from another; NaN equals NaN here, and 0.0 is not -0.0."""
    return metric.key, metric.step, metric.at, repr(metric.value)
