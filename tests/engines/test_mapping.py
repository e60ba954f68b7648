"""`step.map`: each element a call of its own, the whole a handle on a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.pipelines.executor import LocalExecutor
from headway.errors import BadPipeline, StepFailed
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.annotations import fits
from headway.lifecycle.runs.pipeline import Pipeline, pipeline, step
from headway.lifecycle.runs.records import StepState
from headway.lifecycle.runs.results import Results
from headway.testing.session import MemorySession

FOLDER = Path(__file__).parent


def run(of: Pipeline, session: MemorySession, **params: Any) -> Any:
    return LocalExecutor(session, SystemClock(), FOLDER).run(of, params)


def again(session: MemorySession) -> MemorySession:
    return MemorySession(session.run + "'", session)


def states(session: MemorySession) -> dict[str, str]:
    return {name: each.state.value for name, each in session.steps.items()}


@step
def numbers(items: list[int]) -> list[int]:
    return items


@step
def square(item: int, plus: int = 0) -> int:
    return item * item + plus


@step
def total(items: list[int]) -> int:
    return sum(items)


@step
def fold(item: list[int]) -> list[int]:
    return [2 * each for each in item]


@step
def join(left: int, right: str) -> str:
    return f"{left}{right}"


@pipeline
def fan(items: list[int], plus: int = 0) -> Any:
    return total(square.map(numbers(items), plus=plus))


def test_each_element_has_an_entry_of_its_own() -> None:
    session = MemorySession()
    assert run(fan, session, items=[1, 2, 3], plus=1).value == 17
    assert states(session) == dict.fromkeys(["numbers", "square", "square-2", "square-3", "total"], "done")
    edges = {node.step: node.after for node in session.nodes}
    assert edges["square-2"] == ("numbers",)
    assert edges["total"] == ("square", "square-2", "square-3")
    session = again(session)
    assert run(fan, session, items=[1, 5, 3], plus=1).value == 38
    ran = {name for name, state in states(session).items() if state == StepState.DONE}
    assert ran == {"numbers", "square-2", "total"}
    session = again(session)
    assert run(fan, session, items=[5, 3, 1], plus=1).value == 38
    assert {name for name, state in states(session).items() if state == StepState.DONE} == {"numbers", "total"}


def test_an_empty_list_gives_an_empty_list_and_keeps_its_place_in_the_graph() -> None:
    session = MemorySession()
    assert run(fan, session, items=[]).value == 0
    assert {node.step: node.after for node in session.nodes}["total"] == ("numbers",)


@pytest.mark.parametrize("items", [[1, 2], (1, 2), range(1, 3)], ids=lambda items: type(items).__name__)
def test_elements_can_be_used_one_by_one(items: Any) -> None:
    @pipeline
    def flow() -> Any:
        squares = square.map(items)
        assert isinstance(squares, Results)
        assert len(squares) == 2
        assert [each.value for each in squares] == [1, 4]
        assert squares[-1].step == "square-2"
        assert squares[1:].value == [4]
        with pytest.raises(IndexError):
            squares[2]
        return total([squares[0], squares[1]]), total(squares[:1])

    session = MemorySession()
    first, second = run(flow, session)
    assert (first.value, second.value) == (5, 1)
    assert [node.after for node in session.nodes][-2:] == [("square", "square-2"), ("square",)]


def test_maps_are_nested_and_go_over_several_lists() -> None:
    @pipeline
    def flow() -> Any:
        doubled = fold.map([[1], [2, 3]])
        sums = total.map(doubled)
        each = [square.map(list(inner)) for inner in doubled]
        return join.map(sums, ("a", "b")), each

    joined, each = run(flow, MemorySession())
    assert joined.value == ["2a", "10b"]
    assert [inner.value for inner in each] == [[4], [16, 36]]


def test_the_same_is_given_without_an_executor() -> None:
    assert square.map([1, 2], plus=1) == [2, 5]
    assert fan([1, 2, 3]) == 14


def test_what_cannot_be_gone_through_is_named() -> None:
    with pytest.raises(BadPipeline, match="lists of one length, not of 2, 3"):
        join.map([1, 2], ["a", "b", "c"])
    with pytest.raises(BadPipeline, match=r"given a dict.*by its name"):
        square.map({"a": 1})
    with pytest.raises(BadPipeline, match="takes the lists to go through first"):
        square.map(plus=3)

    @pipeline
    def flow() -> Any:
        return square.map(total([1]))

    with pytest.raises(BadPipeline, match="a result that is none"):
        run(flow, MemorySession())


@settings(max_examples=12, deadline=None)
@given(before=st.lists(st.integers(0, 6), max_size=6), after=st.lists(st.integers(0, 6), max_size=6))
def test_an_edit_of_the_list_runs_just_the_elements_that_are_new(before: list[int], after: list[int]) -> None:
    first = MemorySession()
    run(fan, first, items=before)
    second = again(first)
    assert run(fan, second, items=after).value == sum(each * each for each in after)
    squares = [name for name, state in states(second).items() if name.startswith("square") and state == "done"]
    assert len(squares) == len(set(after) - set(before))


@step
def wrong(value: int) -> int:
    return str(value)  # type: ignore[return-value]


@step
def pair() -> tuple[int, str]:
    return 1, "a", 2  # type: ignore[return-value]


def test_a_step_that_gives_what_its_annotation_denies_is_told_so() -> None:
    @pipeline
    def flow() -> Any:
        return wrong(1)

    @pipeline
    def parts() -> Any:
        return pair()

    @pipeline
    def taken() -> Any:
        return square("a")  # type: ignore[arg-type]

    session = MemorySession()
    with pytest.raises(BadPipeline, match="step 'wrong' gives a str, and its annotation says int"):
        run(flow, session)
    assert session.steps["wrong"].state is StepState.FAILED
    with pytest.raises(BadPipeline, match=r"step 'pair' gives \(int, str, int\), and its annotation says tuple"):
        run(parts, MemorySession())
    with pytest.raises(BadPipeline, match="argument 'item': it was given a str, and its annotation says int"):
        run(taken, MemorySession())
    for plain in (flow, parts, taken):
        with pytest.raises(BadPipeline, match="annotation says"):
            plain()


@pytest.mark.parametrize(
    ("value", "said", "expected"),
    [
        (1, int, True), (1, float, True), (1.0, int, False), (True, int, True), (np.float32(1), float, True),
        (np.int64(1), int, True), (np.ones(2), float, False), (None, None, True), (1, None, False),
        ("a", int | str, True),
        (1.5, int | str, False), ([1], list[str], True), ((1,), list[int], False), ((1, 2), tuple[int, ...], True),
        ((1, "a"), tuple[int, str], True), ((1, 2), tuple[int, str], False), ((1,), tuple[int, str], False),
        (pl.DataFrame(), pl.DataFrame, True), ({}, pl.DataFrame, False), (1, Any, True), (1, "int", True),
        (1, "Later", True),
    ],
)  # fmt: skip
def test_values_against_annotations(value: Any, said: Any, expected: bool) -> None:
    assert fits(value, said) is expected


def test_a_step_that_fails_inside_its_code_is_still_that() -> None:
    @step
    def broken(item: int) -> int:
        raise ValueError(f"no {item}")

    @pipeline
    def flow() -> Any:
        return broken.map([1, 2])

    with pytest.raises(StepFailed, match="step 'broken' failed: ValueError: no 1"):
        run(flow, MemorySession())
