"""What holds for the journal: all or nothing, one after the other, sealed and announced."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import Conflict, Invalid
from headway.kernel.ledger import verify
from headway.testing.contracts.state import State

_ON_ONE_STATE = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip
"""Examples go on in the state that the ones before have left, which is what a journal has to bear."""


class JournalContract:
    def test_an_act_keeps_record_entry_lineage_and_event(self, state: State) -> None:
        record = state.sample("runs")
        with state.journal.act("ada", "run.start", why="because") as act:
            assert act.save(state.stores.runs, record, came_from=["dv_1", "", "dv_2", "dv_1"]) is record
            act.emit("RunStarted", record.id, rows=3, names=("a", "b"))
        (entry,) = state.stores.ledger.entries()
        assert (entry.number, entry.actor, entry.verb, entry.why) == (1, "ada", "run.start", "because")
        assert (entry.subject, entry.at) == (record.id, state.clock.now())
        assert [edge.parent for edge in state.stores.lineage.parents(record.id)] == ["dv_1", "dv_2"]
        assert [edge.child for edge in state.stores.lineage.children("dv_2")] == [record.id]
        (event,) = state.stores.events.after(0)
        assert (event.number, event.kind, event.subject, event.at) == (1, "RunStarted", record.id, state.clock.now())
        assert event.facts == {"rows": 3, "names": ["a", "b"]}
        assert state.stores.events.last() == 1

    def test_an_exception_undoes_the_whole_act_and_only_that(self, state: State) -> None:
        kept = state.sample("runs")
        state.keep("runs", kept)

        def fail() -> None:
            with state.act() as act:
                act.save(state.stores.runs, kept.but(name="changed"))
                act.save(state.stores.runs, state.sample("runs"), came_from=[kept.id])
                act.emit("RunStarted", kept.id)
                state.stores.events.mark("listener", 7)
                raise Conflict("changed its mind")

        with pytest.raises(Conflict):
            fail()
        assert state.stores.runs.list().items == (kept,)
        assert state.stores.lineage.children(kept.id) == []
        assert state.stores.events.after(0) == []
        assert state.stores.events.heard("listener") == 0
        assert state.stores.events.last() == 0
        assert verify(state.stores.ledger) == 1

    def test_a_fact_that_is_no_json_undoes_the_act(self, state: State) -> None:
        def fail() -> None:
            with state.act() as act:
                act.save(state.stores.runs, state.sample("runs"))
                act.emit("RunStarted", "rn_1", fact=object())

        with pytest.raises(TypeError):
            fail()
        assert state.stores.runs.list().items == ()

    def test_an_act_reads_its_own_writes_and_nobody_else_does(self, state: State) -> None:
        record = state.sample("runs")
        with ThreadPoolExecutor(1) as other, state.act() as act:
            act.save(state.stores.runs, record)
            assert state.stores.runs.get(record.id) == record
            assert other.submit(state.stores.runs.get, record.id).result(5) is None
        assert state.stores.runs.get(record.id) == record

    @pytest.mark.parametrize("parent", ["a b", "a\tb", " a", "a\n", "a\u2028b", "a\x1fb", "x" * 501])
    def test_what_is_no_id_is_no_parent(self, state: State, parent: str) -> None:
        """The ledger keeps parents on one line: it would not verify ever after."""

        def fail() -> None:
            with state.act() as act:
                act.save(state.stores.runs, state.sample("runs"), came_from=["rn_1", parent])

        with pytest.raises(Invalid, match="takes an id"):
            fail()
        assert verify(state.stores.ledger) == 0

    def test_acts_cannot_be_nested(self, state: State) -> None:
        with state.act() as act:
            with pytest.raises(RuntimeError, match="nested"), state.act():
                pass
            act.save(state.stores.runs, state.sample("runs"))
        assert verify(state.stores.ledger) == 1

    def test_a_check_inside_an_act_still_holds_when_it_writes(self, state: State) -> None:
        def count_up(_: int) -> None:
            with state.act() as act:
                number = state.stores.changes.last_number() + 1
                act.save(state.stores.changes, state.sample("changes", number=number))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(count_up, range(40)))
        assert state.stores.changes.last_number() == 40
        assert verify(state.stores.ledger) == 40

    @_ON_ONE_STATE
    @given(data=st.data())
    def test_any_threads_and_failures_leave_a_whole_ledger(self, state: State, data: st.DataObject) -> None:
        plans = data.draw(st.lists(st.lists(st.integers(-1, 3), max_size=5), min_size=1, max_size=6))
        before = verify(state.stores.ledger)
        start = threading.Barrier(len(plans))

        def work(plan: list[int]) -> list[str]:
            start.wait(10)
            return [identifier for saves in plan for identifier in _act_of(state, saves)]

        with ThreadPoolExecutor(len(plans)) as threads:
            kept = [identifier for found in threads.map(work, plans) for identifier in found]
        entries = state.stores.ledger.entries(after=before)
        assert sorted(entry.subject for entry in entries) == sorted(kept)
        assert all(state.stores.runs.get(identifier) for identifier in kept)
        assert verify(state.stores.ledger) == before + len(kept)

    def test_waiting_ends_with_an_event_and_misses_none(self, state: State) -> None:
        def emit() -> None:
            with state.act() as act:
                act.emit("Happened", "rn_1")

        assert not state.journal.wait(0.01)
        state.keep("runs", state.sample("runs"))
        assert not state.journal.wait(0.01), "what announces nothing wakes nobody"
        emit()
        emit()
        assert state.journal.wait(5)
        assert not state.journal.wait(0.01)
        with ThreadPoolExecutor(1) as other:
            woken = other.submit(state.journal.wait, 5)
            emit()
            assert woken.result(10)
        assert state.journal.wait(5), "each thread is woken for itself"

    def test_an_act_that_fails_wakes_nobody(self, state: State) -> None:
        with pytest.raises(Conflict), state.act():
            raise Conflict("no")
        assert not state.journal.wait(0.01)

    def test_events_are_read_from_where_a_listener_was(self, state: State) -> None:
        for number in range(5):
            with state.act() as act:
                act.emit("Happened", f"rn_{number}")
        first = state.stores.events.after(0, limit=2)
        with state.act():
            state.stores.events.mark("listener", first[-1].number)
        assert state.stores.events.heard("listener") == first[-1].number
        assert state.stores.events.heard("another") == 0
        rest = state.stores.events.after(state.stores.events.heard("listener"))
        assert [event.subject for event in [*first, *rest]] == [f"rn_{number}" for number in range(5)]
        assert [event.number for event in rest] == sorted({event.number for event in rest})

    def test_the_ledger_is_read_both_ways_and_by_subject(self, state: State) -> None:
        runs = [state.sample("runs") for _ in range(5)]
        state.keep("runs", *runs, runs[0].but(name="again"))
        ledger = state.stores.ledger
        assert [entry.number for entry in ledger.entries(after=2, limit=2)] == [3, 4]
        assert [entry.number for entry in ledger.entries(subject=runs[0].id)] == [1, 6]
        assert [entry.number for entry in ledger.latest(limit=2)] == [6, 5]
        assert [entry.number for entry in ledger.latest(before=3)] == [2, 1]
        anchor = ledger.anchor()
        assert anchor is not None
        assert (anchor.number, anchor.hash) == (6, ledger.latest(limit=1)[0].hash)

    def test_the_ledger_is_verified_while_others_write(self, state: State) -> None:
        over = threading.Event()

        def write() -> None:
            record = state.sample("runs")
            for number in range(60):
                state.keep("runs", record.but(name=str(number)), state.sample("runs"))
            over.set()

        with ThreadPoolExecutor(1) as other:
            writing, counts = other.submit(write), [0]
            while not over.is_set() and not writing.done():
                counts.append(verify(state.stores.ledger))
            writing.result()
        assert counts == sorted(counts)
        assert verify(state.stores.ledger) == 120


def _act_of(state: State, saves: int) -> list[str]:
    """Ids kept by one act with that many saves; an act with -1 saves one and fails."""
    records = [state.sample("runs") for _ in range(abs(saves))]
    try:
        with state.act() as act:
            for record in records:
                act.save(state.stores.runs, record)
            if saves < 0:
                raise Conflict("changed its mind")
    except Conflict:
        return []
    return [record.id for record in records]
