"""What holds for steps of runs."""

from __future__ import annotations

from headway.lifecycle.runs.records import StepRun, StepState
from headway.lifecycle.runs.search import RunSearch
from headway.testing.contracts.state import State


class RunStoreContract:
    def test_runs_of_an_experiment_are_counted(self, state: State) -> None:
        other = state.sample("runs", experiment="other")
        state.keep("runs", state.sample("runs"), state.sample("runs", deleted_at=state.clock.now()), other)
        assert [
            state.stores.runs.count(RunSearch(experiments=(name,), deleted=None)) for name in ("late", "other", "none")
        ] == [2, 1, 0]

    def test_logs_are_numbered_and_read_on_from_a_number(self, state: State) -> None:
        at, runs = state.clock.now(), state.stores.runs
        with state.act():
            assert [runs.add_log("rn_1", step, at, text) for step, text in (("a", "x\n"), ("b", "é\n"))] == [1, 2]
            assert runs.add_log("rn_2", "a", at, "other") == 1
        with state.act():
            assert runs.add_log("rn_1", "a", at, "y") == 3
        assert [(part.number, part.step, part.text, part.at) for part in runs.logs("rn_1", after=1)] == [
            (2, "b", "é\n", at), (3, "a", "y", at),
        ]  # fmt: skip
        assert [part.number for part in runs.logs("rn_1", step="a")] == [1, 3]
        assert [part.number for part in runs.logs("rn_1", limit=1)] == [1]
        assert runs.logs("rn_3") == []

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
