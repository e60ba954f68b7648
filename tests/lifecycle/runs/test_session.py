"""What a run asks of the platform once and not for each of its steps."""

from __future__ import annotations

from headway.lifecycle.runs.records import LastResult, StepResult
from headway.lifecycle.runs.session import LastResults
from headway.testing.memory import FrozenClock


def test_last_results_are_asked_for_once_and_make_way_for_newer_ones() -> None:
    asked = []

    def load() -> list[LastResult]:
        asked.append(len(asked))
        now = FrozenClock().now()
        made = [StepResult(id="", created_at=now, key=key, step=key, run="rn_1", outputs=()) for key in "ab"]
        return [LastResult(step=result.step, result=result) for result in made]

    last = LastResults(load)
    assert asked == []
    found = last.keyed("a")
    assert found is not None
    assert last.keyed("c") is None
    assert found.key == "a"
    last.forget("a")
    last.forget("c")
    assert last.keyed("a") is None
    assert last.keyed("b") is not None
    assert [each.step for each in last.all()] == ["a", "b"]
    assert asked == [0]
