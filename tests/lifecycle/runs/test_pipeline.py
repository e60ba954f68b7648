"""Steps, pipelines, handles and the order of a graph, without anything that stores."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import BadPipeline
from headway.lifecycle.runs.pipeline import DeclaredStep, Pipeline, Step, declared, executing, order, pipeline, step
from headway.lifecycle.runs.records import PipelineNode
from headway.lifecycle.runs.results import Held, Result, resolved, results_in


@step
def double(value: int, times: int = 1) -> int:
    """Twice, or more."""
    return value << times


@step(name="pair", cache=False, version="2")
def both(value: int) -> tuple[int, dict[str, int]]:
    return value, {"again": value}


@pipeline
def work(value: int = 3) -> Any:
    number, told = both(value)
    if number.value > 2:
        number = double(number)
    return number, told["again"], [double(told["again"], times=2)]


def test_a_step_by_itself_is_the_function() -> None:
    assert double(3) == 6
    assert double(3, times=2) == 12
    assert both(1) == (1, {"again": 1})
    assert (double.name, double.cache, double.version, double.__doc__) == ("double", True, "", "Twice, or more.")
    assert (both.name, both.cache, both.version) == ("pair", False, "2")
    assert repr(double) == "<step double>"


def test_a_pipeline_by_itself_runs_and_gives_plain_values() -> None:
    assert work() == (6, 3, [12])
    assert work(1) == (1, 1, [4])
    assert work.name == "work"
    assert pipeline(name="nightly")(work.function).name == "nightly"


class Recording:
    """An execution that runs at once and remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[str, ...]]] = []

    def call(self, step: Step, arguments: inspect.BoundArguments) -> Result:
        inputs = [result.step for value in arguments.arguments.values() for result in results_in(value)]
        self.calls.append((step.name, (*inputs, *(result.step for result in step.waits_for))))
        values = {name: resolved(value) for name, value in arguments.arguments.items()}
        with executing(None):
            return Result(step.name, Held(step.function(**values)))


def test_inside_an_execution_calls_are_handed_over() -> None:
    recording = Recording()
    with executing(recording):
        number, again, rest = work.function(3)
    assert isinstance(number, Result)
    assert (number.value, again.value, rest[0].value) == (6, 3, 12)
    assert recording.calls == [("pair", ()), ("double", ("pair",)), ("double", ("pair",))]
    assert double(3) == 6, "outside again"


def test_an_execution_ends_with_its_block_when_it_fails() -> None:
    with pytest.raises(ZeroDivisionError), executing(Recording()):
        raise ZeroDivisionError
    assert double(1) == 2


def test_a_step_can_wait_for_what_it_does_not_take() -> None:
    recording = Recording()
    with executing(recording):
        first = double(1)
        double.named("late").after(first)(2)
    assert recording.calls[1] == ("late", ("double",))
    assert double.waits_for == ()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: double(), "step 'double' cannot be called so: missing a required argument: 'value'"),
        (lambda: double(1, tmes=2), "got an unexpected keyword argument 'tmes'"),
        (lambda: bool(double(1)), "what step 'double' gives, and is neither true nor false; look at its .value"),
        (lambda: double(1) == 2, "cannot be compared; look at its .value"),
        (lambda: double(1)[0], "has no parts to take; look at its .value"),
        (lambda: list(double(1)), "has no parts to take"),
        (lambda: len(double(1)), "has no parts to take"),
        (lambda: double(1).content.digest, "never stored has no digest"),
    ],
)
def test_misuse_says_what_to_do(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(BadPipeline, match=said):
        Pipeline(lambda: call(), name="p")()


def test_a_missing_attribute_points_to_the_value() -> None:
    handle = Result("fit", Held(3))
    with pytest.raises(AttributeError, match=r"no 'shape'; look at its .value"):
        _ = handle.shape
    assert copy.copy(handle).value == 3
    assert handle in [handle]
    assert len({handle, Result("fit", Held(3))}) == 2
    assert repr(handle) == "<result of fit>"


def test_parts_of_a_handle() -> None:
    handle = Result("s", Held({"a": [1, 2], 0: "zero"}))
    assert list(handle) == ["a", 0]
    assert [part.value for part in handle["a"]] == [1, 2]
    assert (handle["a"][-1].value, handle[0].value, len(handle)) == (2, "zero", 2)
    with pytest.raises(KeyError):
        handle["b"]
    with pytest.raises(IndexError):
        handle["a"][2]


def test_the_value_is_read_once() -> None:
    reads: list[int] = []

    class Counted(Held):
        def load(self) -> Any:
            reads.append(1)
            return super().load()

    handle = Result("s", Counted([1]))
    assert handle.value is handle.value
    assert reads == [1]


def generator() -> Iterator[int]:
    yield 1


async def slow() -> int:
    return 1


@pytest.mark.parametrize("function", [generator, slow])
def test_a_step_must_return_its_value(function: Callable[..., Any]) -> None:
    with pytest.raises(BadPipeline, match="generator or async function; return a value"):
        step(function)


def test_a_nameless_function_needs_a_name() -> None:
    with pytest.raises(BadPipeline, match=r"cannot name a step.*@step\(name=...\)"):
        step(lambda: 1)
    with pytest.raises(BadPipeline, match="cannot name a pipeline"):
        pipeline(name="a/b")(double.function)


def nodes(**after: str) -> list[PipelineNode]:
    return [PipelineNode(step=name, after=tuple(others.split())) for name, others in after.items()]


def test_order_of_a_graph() -> None:
    assert order([]) == ()
    assert order(nodes(c="b", b="a", a="")) == ("a", "b", "c")
    assert order(nodes(a="", b="", c="")) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (nodes(load="", fit="laod"), "step 'fit' comes after 'laod', which is no step; did you mean 'load'?"),
        (nodes(a="zzz"), "step 'a' comes after 'zzz', which is no step$"),
        (nodes(a="a"), "in a circle: a -> a;"),
        (nodes(a="c", b="a", c="b", d="c"), "in a circle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c);"),
        ([*nodes(a=""), *nodes(a="")], "two steps have the same name"),
    ],
)
def test_a_graph_that_cannot_be_ordered(graph: list[PipelineNode], said: str) -> None:
    with pytest.raises(BadPipeline, match=said):
        order(graph)


@given(st.lists(st.sets(st.integers(0, 11)), max_size=12).flatmap(st.permutations))
def test_any_graph_is_ordered_or_has_a_circle(edges: list[set[int]]) -> None:
    graph = [
        PipelineNode(step=str(place), after=tuple(str(other) for other in sorted(after) if other < len(edges)))
        for place, after in enumerate(edges)
    ]
    try:
        found = order(graph)
    except BadPipeline as error:
        circle = str(error).split("circle: ")[1].split(";")[0].split(" -> ")
        assert circle[0] == circle[-1]
        waits = {node.step: node.after for node in graph}
        assert all(before in waits[after] for before, after in pairwise(circle))
    else:
        place = {name: number for number, name in enumerate(found)}
        assert sorted(found) == sorted(node.step for node in graph)
        assert all(place[other] < place[node.step] for node in graph for other in node.after)


@given(st.data())
def test_a_graph_without_circles_is_always_ordered(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 15))
    graph = [
        PipelineNode(step=str(place), after=tuple(str(other) for other in range(place) if data.draw(st.booleans())))
        for place in range(size)
    ]
    found = order(data.draw(st.permutations(graph)))
    assert len(found) == size


def test_a_declared_graph_is_a_pipeline() -> None:
    graph = {
        "last": DeclaredStep(call="m:double", inputs={"value": "first"}, after=("other",)),
        "first": DeclaredStep(call="m:double"),
        "other": DeclaredStep(call="m:double"),
    }
    made = declared("work", graph, {"m:double": double})
    assert made(value=1, times=2) == {"first": 4, "other": 4, "last": 16}
    assert made(value=1) == {"first": 2, "other": 2, "last": 4}
    assert set(made.signature.parameters) == {"value", "times"}
    recording = Recording()
    with executing(recording):
        made.function(value=1)
    assert sorted(recording.calls) == [("first", ()), ("last", ("first", "other")), ("other", ())]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (DeclaredStep(call="m:double", inputs={"valeu": "a"}), "takes no argument 'valeu'; did you mean 'value'"),
        (DeclaredStep(call="m:double", inputs={"value": "b"}), "'b' comes after 'b'|b -> b"),
    ],
)
def test_a_declared_graph_that_does_not_fit(node: DeclaredStep, said: str) -> None:
    with pytest.raises(BadPipeline, match=said):
        declared("work", {"a": DeclaredStep(call="m:double"), "b": node}, {"m:double": double})
