"""What holds for the points that runs log."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import Conflict
from headway.lifecycle.runs.curve import Curve, joined
from headway.testing.contracts.state import State

_VALUES = st.floats() | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324])
_POINTS = st.lists(st.tuples(st.sampled_from("ab"), _VALUES, st.integers(-2, 2), st.integers(0, 2)), max_size=12)
_RUN, _KEY = "rn_1", "loss"
_LIMITS = (-(2**63), 2**63 - 1)


class MetricStoreContract:
    def test_points_come_back_exactly_in_the_order_of_writing(self, state: State) -> None:
        values = [3.0, math.nan, -math.inf, 1e-300, -0.0, 0.1]
        added = [
            _add(state, _curve(values[:2])),
            _add(state, Curve()),
            _add(state, _curve(values[2:], first_step=2)),
            _add(state, _curve(values[:1]), run="rn_2"),
        ]
        assert added == [2, 0, 4, 1]
        assert _seen(state.stores.metrics.curve(_RUN, _KEY, limit=99)) == _seen(_curve(values))
        assert _seen(state.stores.metrics.curve(_RUN, _KEY, limit=2, after=1)) == _seen(_curve(values).part(1, 3))
        assert len(state.stores.metrics.curve(_RUN, "other", limit=9)) == 0

    def test_steps_and_times_may_be_as_far_apart_as_numbers_go(self, state: State) -> None:
        curve = Curve(steps=[*_LIMITS] * 2000, at_us=list(range(4000)), values=[1.0] * 4000)
        _add(state, curve)
        assert _seen(state.stores.metrics.curve(_RUN, _KEY, limit=9999)) == _seen(curve)

    def test_a_point_is_kept_once(self, state: State) -> None:
        curve = Curve(steps=[1, 1, 1, 1], at_us=[0] * 4, values=[math.nan, 2.0, 2.0, -0.0])
        assert [_add(state, curve) for _ in range(2)] == [3, 0]
        assert _seen(state.stores.metrics.curve(_RUN, _KEY, limit=9)) == _seen(curve.at([0, 1, 3]))

    def test_what_is_sent_again_is_found_in_what_was_folded(self, state: State) -> None:
        whole = _curve([math.sin(step) for step in range(9000)])
        for start in range(0, 9000, 700):
            _add(state, whole.part(start, start + 700))
        assert [_add(state, whole.part(start, start + 3000)) for start in (0, 2500, 6000)] == [0, 0, 0]
        assert _add(state, _curve([7.0], first_step=4000)) == 1
        assert state.stores.metrics.summaries(_RUN)[_KEY].points == 9001

    def test_single_points_are_folded_and_read_in_pages(self, state: State) -> None:
        whole = _curve([random.Random(7).random() for _ in range(300)])
        for start in range(300):
            with state.act():
                state.stores.metrics.add({(_RUN, _KEY): whole.part(start, start + 1)})
        pages = [state.stores.metrics.curve(_RUN, _KEY, limit=70, after=after) for after in range(0, 300, 70)]
        assert _seen(joined(pages)) == _seen(whole)
        assert len(state.stores.metrics.curve(_RUN, _KEY, limit=70, after=300)) == 0

    def test_latest_lowest_and_highest(self, state: State) -> None:
        _add(state, Curve(steps=[2, 1], at_us=[0, 9], values=[1.0, 9.0]), key="a")
        _add(state, Curve(steps=[0, 0], at_us=[0, 0], values=[5.0, 4.0]), key="b")
        _add(state, Curve(steps=[2, 2], at_us=[9, 9], values=[math.nan, -math.inf]), key="a")
        _add(state, Curve(steps=[0], at_us=[0], values=[math.nan]), run="rn_2", key="a")
        latest = state.stores.metrics.latest([_RUN, "rn_2", "rn_3"])
        assert latest[_RUN] == {"a": -math.inf, "b": 5.0}, "of two at one step and time the greater counts"
        assert math.isnan(latest["rn_2"]["a"])
        assert latest["rn_3"] == {}
        found = state.stores.metrics.summaries(_RUN)
        assert list(found) == ["a", "b"]
        assert (found["a"].lowest, found["a"].highest, found["a"].points, found["a"].last_step) == (-math.inf, 9, 4, 2)
        assert math.isnan(state.stores.metrics.summaries("rn_2")["a"].highest)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(points=_POINTS, cut=st.integers(0, 12))
    def test_any_points_are_kept_once_in_order_whatever_the_batches(
        self, state: State, points: list[tuple[str, float, int, int]], cut: int
    ) -> None:
        run, metrics = state.ids("rn"), state.stores.metrics
        for batch in (points[:cut], points[cut:], points[:cut]):
            with state.act():
                metrics.add({(run, key): _of(batch, key) for key in "ab"})
        for key in "ab":
            expected = _of(points, key)
            assert _seen(metrics.curve(run, key, limit=99)) == list(dict.fromkeys(_seen(expected)))
            known = [value for value in expected.values if not math.isnan(value)]
            if known:
                summary = metrics.summaries(run)[key]
                assert (summary.lowest, summary.highest) == (min(known), max(known))
        assert metrics.latest([run])[run].keys() == {point[0] for point in points}

    def test_a_sample_keeps_ends_peaks_and_nan(self, state: State) -> None:
        values = [math.sin(step / 500) for step in range(30_000)]
        values[12_345], values[23_456], values[17_777] = 50.0, -50.0, math.nan
        for start in range(0, 30_000, 10_000):
            _add(state, _curve(values[start : start + 10_000], first_step=start))
        sample = state.stores.metrics.sample(_RUN, _KEY, most=100)
        assert 60 <= len(sample) <= 100
        assert set(_seen(sample)) <= set(_seen(_curve(values)))
        assert sample.steps == sorted(sample.steps)
        assert {0, 12_345, 17_777, 23_456, 29_999} <= set(sample.steps)

    def test_a_sample_of_a_range_of_steps(self, state: State) -> None:
        _add(state, _curve([float(step % 100) for step in range(30_000)]))
        sample = state.stores.metrics.sample(_RUN, _KEY, most=50, first_step=5000, last_step=28_000)
        assert (sample.steps[0], sample.steps[-1]) == (5000, 28_000)
        assert (min(sample.values), max(sample.values)) == (0.0, 99.0)
        few = state.stores.metrics.sample(_RUN, _KEY, most=50, first_step=7, last_step=9)
        assert few.steps == [7, 8, 9]
        assert len(state.stores.metrics.sample(_RUN, _KEY, most=50, first_step=40_000)) == 0

    def test_a_failed_act_logs_nothing(self, state: State) -> None:
        def fail() -> None:
            with state.act():
                state.stores.metrics.add({(_RUN, _KEY): _curve([1.0])})
                raise Conflict("changed its mind")

        with pytest.raises(Conflict):
            fail()
        assert state.stores.metrics.latest([_RUN]) == {_RUN: {}}

    def test_nothing_is_logged_outside_an_act(self, state: State) -> None:
        with pytest.raises(RuntimeError, match="inside"):
            state.stores.metrics.add({(_RUN, _KEY): _curve([1.0])})


def _add(state: State, curve: Curve, *, run: str = _RUN, key: str = _KEY) -> int:
    with state.act():
        return state.stores.metrics.add({(run, key): curve})


def _curve(values: list[float], first_step: int = 0) -> Curve:
    steps = list(range(first_step, first_step + len(values)))
    return Curve(steps=steps, at_us=[1_700_000_000_000_000 + 1000 * step for step in steps], values=values)


def _of(points: list[tuple[str, float, int, int]], key: str) -> Curve:
    own = [point for point in points if point[0] == key]
    return Curve(
        steps=[step for _, _, step, _ in own], at_us=[at for *_, at in own], values=[value for _, value, _, _ in own]
    )


def _seen(curve: Curve) -> list[tuple[int, int, str]]:
    """What tells one point from another; NaN equals NaN here, and 0.0 is not -0.0."""
    return list(zip(curve.steps, curve.at_us, map(repr, curve.values), strict=True))
