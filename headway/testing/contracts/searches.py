"""What holds for searching runs: every storage finds the same, in the same order."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.records import Input, RunState
from headway.lifecycle.runs.search import RUNS, RunSearch, parsed_filter, parsed_order
from headway.testing.contracts.state import State
from headway.testing.memory import open_memory

_AUC = (None, math.nan, 0.2, 0.3, math.inf, 0.2)
_FOUND: list[tuple[str, list[int]]] = [
    ("", [5, 4, 3, 2, 1, 0]),
    ("metrics.auc > 0.25", [4, 3]),
    ("metrics.auc != 0.2", [4, 3]),
    ("metrics.auc <= 0.2 AND params.model = 'linear'", [2]),
    ("params.model LIKE 'for%'", [5, 3, 1]),
    ("params.model LIKE 'FOR%'", []),
    ("params.model LIKE 'f_r%t'", [5, 3, 1]),
    ("params.model LIKE '%'", [5, 4, 3, 2, 1, 0]),
    ("params.model ILIKE 'FOR%'", [5, 3, 1]),
    ("params.model != 'forest'", [4, 2, 0]),
    ("params.missing != 'forest'", []),
    ("tags.`a tag` = 'it\"s'", [0]),
    ('tags."a tag" IS NULL', [5, 4, 3, 2, 1]),
    ("tags.`a tag` IS NOT NULL", [0]),
    ("attributes.run_name = 'run 2'", [2]),
    ("run_id IN ('{1}', '{4}')", [4, 1]),
    ("attr.run_id NOT IN ('{1}', '{4}')", [5, 3, 2, 0]),
    ("start_time >= 1767225604000", [5, 4]),
    ("end_time < 1767225604000", [3]),
    ("status = 'finished'", [3]),
    ("user_id LIKE 'ad%'", [5, 4, 3, 2, 1, 0]),
    ("datasets.name = 'flights' AND dataset.context = 'train'", [4]),
    ("datasets.digest IN ('d2')", [5]),
]
_ORDERED: list[tuple[list[str], list[int]]] = [
    (["metrics.auc"], [5, 2, 3, 4, 1, 0]),
    (["metrics.auc DESC"], [4, 3, 5, 2, 1, 0]),
    (["params.model", "start_time ASC"], [1, 3, 5, 0, 2, 4]),
    (["tags.`a tag` DESC"], [0, 5, 4, 3, 2, 1]),
    (["attributes.end_time DESC"], [3, 5, 4, 2, 1, 0]),
    (["run_name DESC"], [5, 4, 3, 2, 1, 0]),
]


class RunSearchContract:
    @pytest.mark.parametrize(("text", "expected"), _FOUND)
    def test_a_filter_finds(self, state: State, text: str, expected: list[int]) -> None:
        runs = _fill(state)
        text = text.replace("{1}", runs[1]).replace("{4}", runs[4])
        assert _numbers(state, runs, where=parsed_filter(text, RUNS)) == expected

    @pytest.mark.parametrize(("order", "expected"), _ORDERED)
    def test_an_order_puts_what_is_absent_last_and_nan_before_it(
        self, state: State, order: list[str], expected: list[int]
    ) -> None:
        assert _numbers(state, _fill(state), order=parsed_order(order, RUNS)) == expected

    def test_the_last_point_of_each_metric(self, state: State) -> None:
        curve = Curve(steps=[1, 3, 3, 2], at_us=[9, 5, 4, 8], values=[0.1, math.inf, 0.3, 0.4])
        with state.act():
            state.stores.metrics.add(
                {("rn_1", "b"): curve, ("rn_1", "a"): Curve(steps=[0], at_us=[1], values=[math.nan])}
            )
        found = state.stores.metrics.last_points(["rn_1", "rn_2"])
        assert found["rn_2"] == []
        assert [(point.key, point.step, repr(point.value)) for point in found["rn_1"]] == [
            ("a", 0, "nan"),
            ("b", 3, "inf"),
        ]
        assert found["rn_1"][1].at.microsecond == 5

    def test_pages_follow_each_other(self, state: State) -> None:
        runs = _fill(state)
        first = state.stores.runs.search(RunSearch(experiments=("search",), limit=4))
        assert [runs.index(run.id) for run in first.items] == [5, 4, 3, 2]
        assert _numbers(state, runs, limit=4, after=first.next or "") == [1, 0]

    def test_other_experiments_and_deleted_runs_are_left_out(self, state: State) -> None:
        runs = _fill(state)
        state.keep("runs", state.sample("runs", experiment="other"))
        found = state.stores.runs.get(runs[2])
        assert found is not None
        state.keep("runs", found.but(deleted_at=state.clock.now()))
        assert _numbers(state, runs) == [5, 4, 3, 1, 0]
        assert _numbers(state, runs, deleted=True) == [2]
        assert _numbers(state, runs, deleted=None) == [5, 4, 3, 2, 1, 0]
        assert state.stores.runs.search(RunSearch(experiments=("nothing",))).items == ()

    def test_what_is_searched_follows_the_record(self, state: State) -> None:
        runs = _fill(state)
        found = state.stores.runs.get(runs[0])
        assert found is not None
        state.keep("runs", found.but(tags={"b": "new"}, name="other", experiment="moved"))
        assert _numbers(state, runs) == [5, 4, 3, 2, 1]
        moved = RunSearch(experiments=("moved",), where=parsed_filter("tags.b = 'new' AND tags.`a tag` IS NULL", RUNS))
        assert [run.name for run in state.stores.runs.search(moved).items] == ["other"]

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_filter_finds_what_memory_finds(self, state: State, data: st.DataObject) -> None:
        if not state.stores.runs.search(RunSearch(experiments=("search",))).items:
            _fill(state)
        memory = State(*open_memory(state.clock), state.clock)
        _fill(memory)
        text = " AND ".join(data.draw(st.lists(_CONDITIONS, max_size=3)))
        order = data.draw(st.lists(_ORDERS, max_size=2))
        where, by = parsed_filter(text, RUNS), parsed_order(order, RUNS)
        question = RunSearch(experiments=("search",), where=where, order=by)
        names = [run.name for run in state.stores.runs.search(question).items]
        assert names == [run.name for run in memory.stores.runs.search(question).items], text


_TEXTS = st.text(alphabet="forestlinaFOR%_* ?[", max_size=6)
_CONDITIONS = st.one_of(
    st.builds("metrics.auc {} {}".format, st.sampled_from(["=", "!=", "<", ">="]), st.sampled_from([0.2, 0.25, 1e308])),
    st.builds("params.model {} '{}'".format, st.sampled_from(["=", "!=", "LIKE", "ILIKE"]), _TEXTS),
    st.builds("run_name {} '{}'".format, st.sampled_from(["LIKE", "ILIKE"]), _TEXTS),
    st.sampled_from(["tags.`a tag` IS NULL", "params.model IS NOT NULL", "start_time > 1767225602000"]),
)
_ORDERS = st.sampled_from(["metrics.auc", "metrics.auc DESC", "params.model DESC", "end_time", "tags.`a tag`"])


def _fill(state: State) -> list[str]:
    """Six runs, a second apart; their ids."""
    start, ids = state.clock.now(), []
    for number, auc in enumerate(_AUC):
        began = start + timedelta(seconds=number)
        given: dict[str, Any] = {
            "experiment": "search", "name": f"run {number}", "started_at": began, "started_by": "ada",
            "state": RunState.RUNNING, "params": {"model": "forest" if number % 2 else "linear"},
            "tags": {"a tag": 'it"s'} if number == 0 else {},
        }  # fmt: skip
        if number == 3:
            given |= {"state": RunState.FINISHED, "ended_at": began + timedelta(milliseconds=1)}
        if number >= 4:
            context = {"mlflow.data.context": "train"} if number == 4 else {}
            given["inputs"] = (Input(name="flights", digest=f"d{number - 3}", tags=context),)
        run = state.sample("runs", **given)
        state.keep("runs", run)
        ids.append(run.id)
        if auc is not None:
            with state.act():
                state.stores.metrics.add({(run.id, "auc"): Curve(steps=[0], at_us=[0], values=[auc])})
    return ids


def _numbers(state: State, runs: list[str], **question: Any) -> list[int]:
    found = state.stores.runs.search(RunSearch(experiments=("search",), **question)).items
    return [runs.index(run.id) for run in found]
