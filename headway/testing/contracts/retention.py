"""What holds for letting go of records, over every kind of store."""

from __future__ import annotations

import pytest

from headway.errors import LedgerBroken
from headway.kernel.ledger import verify
from headway.kernel.records import encode
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.records import StepRun
from headway.lifecycle.runs.search import RunSearch
from headway.lifecycle.runs.traces import Span
from headway.testing.contracts.records import all_of
from headway.testing.contracts.state import State

_PURGEABLE = (
    "experiments", "runs", "artifacts", "logged_models", "traces", "step_results", "dataset_versions", "models",
    "registrations", "model_versions", "segments",
)  # fmt: skip


class RetentionContract:
    @pytest.mark.parametrize("name", _PURGEABLE)
    def test_a_record_goes_and_its_tombstone_is_sealed(self, state: State, name: str) -> None:
        record = state.sample(name)
        state.keep(name, record)
        assert state.stores.kept.body(record.id) == encode(record)
        assert list(state.stores.kept.of_kind(record.prefix)) == [encode(record)]
        tombstone = state.sample("tombstones", id=record.id, kind=record.prefix)
        with state.act() as act:
            state.stores.kept.remove(record.id)
            act.save(state.stores.tombstones, tombstone)
        assert state.stores.kept.body(record.id) is None
        assert record not in all_of(state.stores, name, record)
        assert state.stores.tombstones.get(record.id) == tombstone
        assert list(state.stores.ledger.records()) == [(record.id, encode(tombstone))]
        assert verify(state.stores.ledger) == 2

    def test_one_that_goes_without_a_tombstone_is_missed(self, state: State) -> None:
        record = state.sample("runs")
        state.keep("runs", record)
        with state.act():
            state.stores.kept.remove(record.id)
        with pytest.raises(LedgerBroken, match="no longer kept"):
            verify(state.stores.ledger)

    def test_a_run_goes_with_its_points_steps_and_place_in_a_search_and_no_other(self, state: State) -> None:
        gone, stays = state.sample("runs", params={"depth": "3"}), state.sample("runs", params={"depth": "3"})
        state.keep("runs", gone, stays)
        curve = Curve(steps=list(range(5000)), at_us=list(range(5000)), values=[0.5] * 5000)
        with state.act():
            state.stores.metrics.add({(run.id, "loss"): curve for run in (gone, stays)})
            for run in (gone, stays):
                state.stores.runs.put_steps(run.id, [StepRun(step="load")])
                state.stores.runs.add_log(run.id, "load", state.clock.now(), "read 3 rows")
        with state.act():
            state.stores.kept.remove(gone.id)
        found = state.stores.runs.search(RunSearch(experiments=("late",))).items
        assert [run.id for run in found] == [stays.id]
        assert state.stores.metrics.summaries(gone.id) == {}
        assert len(state.stores.metrics.curve(gone.id, "loss", limit=9)) == 0
        assert state.stores.metrics.summaries(stays.id)["loss"].points == 5000
        assert (state.stores.runs.logs(gone.id), len(state.stores.runs.logs(stays.id))) == ([], 1)
        assert (state.stores.runs.steps(gone.id), len(state.stores.runs.steps(stays.id))) == ([], 1)
        assert state.stores.runs.count(RunSearch(experiments=("late",), deleted=None)) == 1

    def test_a_trace_goes_with_its_spans_and_no_other(self, state: State) -> None:
        gone, stays = state.sample("traces"), state.sample("traces")
        state.keep("traces", gone, stays)
        with state.act():
            state.stores.traces.put_spans([Span(request=each.request, id="00000000000000a1") for each in (gone, stays)])
        with state.act():
            state.stores.kept.remove(gone.id)
        assert state.stores.traces.of(gone.request) is None
        left = state.stores.traces.spans([gone.request, stays.request])
        assert (len(left[gone.request]), len(left[stays.request])) == (0, 1)

    def test_an_act_that_fails_lets_go_of_nothing(self, state: State) -> None:
        record = state.sample("runs")
        state.keep("runs", record)

        def fail() -> None:
            with state.act():
                state.stores.kept.remove(record.id)
                assert state.stores.kept.body(record.id) is None
                raise RuntimeError("changed its mind")

        with pytest.raises(RuntimeError):
            fail()
        assert state.stores.runs.get(record.id) == record
        assert verify(state.stores.ledger) == 1

    def test_what_is_no_record_has_no_body(self, state: State) -> None:
        assert state.stores.kept.body("rn_00000000000000000000000009") is None
        assert state.stores.kept.body("nonsense") is None

    def test_records_of_a_kind_come_oldest_first(self, state: State) -> None:
        runs = [state.sample("runs") for _ in range(3)]
        state.keep("runs", *reversed(runs))
        assert list(state.stores.kept.of_kind("rn")) == [encode(run) for run in runs]
