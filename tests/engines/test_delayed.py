"""Progress is told in one go, whole, in order, and not long after."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from headway.engines.pipelines.delayed import DelayedProgress
from headway.errors import Unavailable
from headway.lifecycle.runs.records import PipelineNode, StepRun, StepState
from headway.testing.session import MemorySession

PATIENCE_S = 60


class Heard(MemorySession):
    """Keeps each message, and says when one has come."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.messages: list[list[StepRun]] = []
        self.came = threading.Event()
        self._raised = error

    def progress(self, steps: Sequence[StepRun], nodes: Sequence[PipelineNode]) -> None:
        super().progress(steps, nodes)
        self.messages.append(list(steps))
        self.came.set()
        if self._raised is not None:
            raise self._raised


def moved(name: str, state: StepState) -> StepRun:
    return StepRun(step=name, state=state)


def test_many_short_steps_are_one_message() -> None:
    heard = Heard()
    with DelayedProgress(heard, delay_s=PATIENCE_S) as session:
        for number in range(100):
            session.progress([moved(f"s{number}", StepState.RUNNING)], ())
            session.progress([moved(f"s{number}", StepState.DONE)], ())
        assert heard.messages == []
    assert [[step.step for step in message] for message in heard.messages] == [[f"s{n}" for n in range(100)]]
    assert {step.state for step in heard.steps.values()} == {StepState.DONE}


def test_a_long_step_is_told_of_while_it_runs() -> None:
    heard = Heard()
    with DelayedProgress(heard, delay_s=0.001) as session:
        session.progress([moved("long", StepState.RUNNING)], ())
        assert heard.came.wait(PATIENCE_S)
        assert heard.steps["long"].state is StepState.RUNNING
        session.progress([moved("long", StepState.DONE)], ())
    assert heard.steps["long"].state is StepState.DONE


def test_a_failure_and_the_graph_are_told_at_once() -> None:
    heard = Heard()
    with DelayedProgress(heard, delay_s=PATIENCE_S) as session:
        session.progress([moved("a", StepState.DONE)], ())
        session.progress([moved("b", StepState.FAILED)], ())
        assert [step.step for step in heard.messages[0]] == ["a", "b"]
        session.progress([moved("a", StepState.DONE)], [PipelineNode(step="a")])
        assert heard.nodes == (PipelineNode(step="a"),)


def test_what_was_answered_to_the_thread_is_raised() -> None:
    heard = Heard(Unavailable("away"))
    session = DelayedProgress(heard, delay_s=0.001)
    session.progress([moved("a", StepState.RUNNING)], ())
    assert heard.came.wait(PATIENCE_S)
    session.__exit__(ValueError, ValueError("the run ends"), None)  # which waits for the thread
    with pytest.raises(Unavailable, match="away"):
        session.progress([moved("b", StepState.RUNNING)], ())


def test_all_else_goes_straight_through() -> None:
    heard = Heard()
    with DelayedProgress(heard) as session:
        blob = session.put_blob(b"x")
        assert session.get_blob(blob) == b"x"
        assert session.blob_file(blob) is None
        assert session.run == heard.run
        assert session.cached("k") is None
        assert list(session.last_results()) == []
