"""Runs, caches, draws the graph, and tells what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headway.engines.pipelines.executor import LocalExecutor
from headway.engines.pipelines.failures import without_secrets
from headway.errors import BadPipeline, StepFailed
from headway.lifecycle.runs.pipeline import DeclaredStep, Pipeline, declared, pipeline, step
from headway.lifecycle.runs.records import PipelineNode, StepRun, StepState
from headway.lifecycle.runs.results import Result
from headway.testing.session import MemorySession

FOLDER = Path(__file__).parent
RAN: list[str] = []


class Stopped:
    """A clock that stands."""

    def now(self) -> datetime:
        return datetime(2020, 1, 1, tzinfo=UTC)


def note(name: str) -> None:
    RAN.append(name)


@pytest.fixture(autouse=True)
def _forget() -> None:
    RAN.clear()


class Runner:
    """Runs pipelines one after the other over one store."""

    def __init__(self) -> None:
        self.session = MemorySession()
        self.told: list[StepRun] = []
        self.nodes: tuple[PipelineNode, ...] = ()

    def __call__(self, of: Pipeline, **params: Any) -> Any:
        RAN.clear()
        self.session = MemorySession(f"{self.session.run}'", self.session)
        executor = LocalExecutor(self.session, Stopped(), FOLDER, self.told.append)
        try:
            return executor.run(of, params)
        finally:
            self.nodes = executor.nodes

    def states(self) -> dict[str, StepState]:
        return {name: step.state for name, step in self.session.steps.items()}


@pytest.fixture
def run() -> Runner:
    return Runner()


@step
def load(rows: int) -> pl.DataFrame:
    note("load")
    return pl.DataFrame({"a": list(range(rows))})


@step
def halve(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    note("halve")
    return frame.head(len(frame) // 2), frame.tail(len(frame) // 2)


@step
def total(frame: pl.DataFrame, factor: int = 1) -> dict[str, int]:
    note("total")
    return {"sum": int(frame["a"].sum()) * factor}


@step
def sign(totals: dict[str, int]) -> bool:
    note("sign")
    return totals["sum"] > 0


@step
def say(positive: bool) -> str:
    note("say")
    return "up" if positive else "down"


@pipeline
def sums(rows: int = 4, factor: int = 1) -> Any:
    first, second = halve(load(rows))
    total(second)
    return say(sign(total(first, factor)))


def test_the_first_run_runs_all_and_the_second_nothing(run: Runner) -> None:
    assert run(sums).value == "up"
    assert RAN == ["load", "halve", "total", "total", "sign", "say"]
    assert set(run.states().values()) == {StepState.DONE}
    blobs = dict(run.session.blobs)
    assert run(sums).value == "up"
    assert not RAN
    assert set(run.states().values()) == {StepState.CACHED}
    assert run.session.blobs == blobs


def test_the_graph_is_drawn_from_the_calls(run: Runner) -> None:
    run(sums)
    assert [(node.step, node.after) for node in run.nodes] == [
        ("load", ()), ("halve", ("load",)), ("total", ("halve",)), ("total-2", ("halve",)), ("sign", ("total-2",)),
        ("say", ("sign",)),
    ]  # fmt: skip
    assert run.session.nodes == run.nodes


def test_a_param_runs_what_depends_on_it(run: Runner) -> None:
    run(sums)
    run(sums, factor=2)
    assert RAN == ["total", "sign"], "the sign of the double is the same, so what comes after stays"
    assert run.states()["say"] is StepState.CACHED
    run(sums, rows=6)
    assert RAN == ["load", "halve", "total", "total", "sign"]


def test_a_cached_frame_is_not_read_unless_it_is_needed(run: Runner) -> None:
    @pipeline
    def just_load() -> Any:
        return load(1000)

    run(just_load)
    result = run(just_load)
    assert not run.session.read
    assert result.value.height == 1000
    assert len(run.session.read) == 1
    run(sums, rows=4)
    run(sums, rows=4, factor=-1)
    kept = next(r for r in run.session.results.values() if r.step == "halve")
    assert RAN == ["total", "sign", "say"]
    assert run.session.read == [kept.outputs[0].blob, kept.outputs[1].blob], "the tree, and the half that is summed"


def test_the_pipeline_may_look_and_decide(run: Runner) -> None:
    @pipeline
    def decide(rows: int) -> Any:
        totals = total(load(rows))
        if totals.value["sum"] > 10:
            return "large"
        return [sign(totals) for _ in range(2)]

    assert run(decide, rows=10) == "large"
    assert [result.value for result in run(decide, rows=1)] == [False, False]
    assert list(run.states()) == ["load", "total", "sign", "sign-2"]
    assert RAN == ["load", "total", "sign"], "the second is the same call"


@step
def spoil(numbers: list[int]) -> int:
    numbers.append(1)
    return len(numbers)


@step
def numbers() -> list[int]:
    return [1, 2]


def test_what_a_step_does_to_its_argument_reaches_no_other(run: Runner) -> None:
    @pipeline
    def twice() -> Any:
        given = numbers()
        given.value.append(5)
        return spoil(given), spoil(given).value, given.content.load()

    first, second, left = run(twice)
    assert (first.value, second, left) == (3, 3, [1, 2])


@step(cache=False)
def now() -> int:
    note("now")
    return 7


def test_a_step_without_cache_runs_each_time_and_its_output_counts(run: Runner) -> None:
    @pipeline
    def clock() -> Any:
        return spoil([now().value]), total.named("sum")(load(now()))

    run(clock)
    run(clock)
    assert RAN == ["now", "now"]
    assert run.states()["sum"] is StepState.CACHED


@step
def outer(n: int) -> int:
    value: int = inner(n) + 1
    return value


@step
def inner(n: int) -> int:
    return n * 2


def test_a_step_inside_a_step_is_part_of_it(run: Runner) -> None:
    @pipeline
    def nested() -> Any:
        return outer(3)

    assert run(nested).value == 7
    assert list(run.states()) == ["outer"]


def test_a_pipeline_inside_a_pipeline_adds_its_steps(run: Runner) -> None:
    @pipeline
    def both() -> Any:
        return sums(2), sums(4)

    run(both)
    assert len(run.nodes) == 12


@step
def breaks(value: Any, how: Callable[[], None] | None = None) -> None:
    raise ValueError(f"no {value}, see https://me:hunter2@host/x?token=abcdef")


def test_a_failing_step_is_told_and_the_rest_stays(run: Runner) -> None:
    @pipeline
    def fails() -> Any:
        load(3)
        return breaks(inner(1))

    with pytest.raises(
        StepFailed, match=r"step 'breaks' failed: ValueError: no 2.*test_executor.py:\d+ in breaks"
    ) as e:
        run(fails)
    assert isinstance(e.value.__cause__, ValueError)
    failed = run.session.steps["breaks"]
    assert failed.state is StepState.FAILED
    assert failed.error.startswith("ValueError: no 2")
    assert "test_executor.py" in failed.error
    assert "headway" not in failed.error
    assert "hunter2" not in failed.error + str(e.value)
    assert "abcdef" not in failed.error + str(e.value)
    with pytest.raises(StepFailed):
        run(fails)
    assert run.states() == {"load": "cached", "inner": "cached", "breaks": "failed"}


@step
def leaves() -> None:
    raise SystemExit(3)


@step
def interrupted() -> None:
    raise KeyboardInterrupt


def test_a_step_that_exits_fails_and_an_interrupt_goes_through(run: Runner) -> None:
    with pytest.raises(StepFailed, match="SystemExit: 3"):
        run(Pipeline(lambda: leaves(), name="p"))
    with pytest.raises(KeyboardInterrupt):
        run(Pipeline(lambda: interrupted(), name="p"))
    assert run.states() == {"interrupted": "failed"}


def test_an_error_between_steps_is_told(run: Runner) -> None:
    @pipeline
    def wrong() -> Any:
        return load(2).value["missing"]

    with pytest.raises(StepFailed, match=r"pipeline 'wrong' failed between its steps: ColumnNotFound.* in wrong"):
        run(wrong)
    assert run.states() == {"load": "done"}


@step
def unstorable(deep: bool) -> Any:
    return {"model": [1, {2, 3}]} if deep else iter([])


def test_what_cannot_be_stored_is_named_by_step_and_place(run: Runner) -> None:
    with pytest.raises(BadPipeline, match=r"step 'unstorable' gives .*\['model'\]\[1\]: a set .*sorted"):
        run(Pipeline(lambda: unstorable(True), name="p"))
    with pytest.raises(BadPipeline, match=r"step 'unstorable' gives what cannot be stored: a list_iterator .* return"):
        run(Pipeline(lambda: unstorable(False), name="p"))
    assert run.states() == {"unstorable": "failed"}


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: load(), "step 'load' cannot be called so: missing a required argument: 'rows'"),
        (lambda: load(1, 2), "too many positional arguments"),
        (lambda: bool(load(1)), "neither true nor false; look at its .value"),
        (lambda: load(1) == 3, "cannot be compared"),
        (lambda: load(1)["a"], "no parts to take; look at its .value"),
        (lambda: breaks(object()), "step 'breaks', argument 'value': a object cannot be stored"),
    ],
)
def test_misuse_says_what_to_do(run: Runner, call: Callable[[], Any], match: str) -> None:
    with pytest.raises(BadPipeline, match=match):
        run(Pipeline(call, name="p"))


def test_params_that_do_not_fit_are_refused_before_anything_runs(run: Runner) -> None:
    with pytest.raises(BadPipeline, match="pipeline 'sums' cannot be called so"):
        run(sums, row=3)
    assert not run.session.steps


def test_each_change_is_reported_once_in_order(run: Runner) -> None:
    run(sums)
    assert [(step.step, step.state) for step in run.told][:4] == [
        ("load", "running"), ("load", "done"), ("halve", "running"), ("halve", "done"),
    ]  # fmt: skip
    assert len(run.told) == 12


def test_a_declared_graph_runs_in_its_order(run: Runner) -> None:
    graph = {
        "totals": DeclaredStep(call="m:total", inputs={"frame": "rows"}),
        "rows": DeclaredStep(call="m:load", after=("first",)),
        "first": DeclaredStep(call="m:now"),
    }
    of = declared("sums", graph, {"m:total": total, "m:load": load, "m:now": now})
    results = run(of, rows=3, factor=2)
    assert {name: result.value for name, result in results.items() if name != "rows"} == {
        "first": 7, "totals": {"sum": 6},
    }  # fmt: skip
    assert {node.step: node.after for node in run.nodes} == {"first": (), "rows": ("first",), "totals": ("rows",)}
    run(of, rows=3, factor=2)
    assert run.states() == {"first": "done", "rows": "cached", "totals": "cached"}


def test_a_handle_from_an_earlier_run_can_be_passed_on(run: Runner) -> None:
    earlier: Result = run(Pipeline(lambda: load(4), name="p"))
    assert run(Pipeline(lambda: total(earlier), name="p")).value == {"sum": 6}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("postgresql://user:pa55@db:5432/x failed", "postgresql://user:***@db:5432/x failed"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("password='x y'", "password='*** y'"),
        ('{"api_key": "k1"}', '{"api_key": "***"}'),
        ("token hw_0123456789abcdef", "token ***"),
        ("tokens: 3 of 4 words", "tokens: 3 of 4 words"),
        ("see http://host:80/a@b", "see http://host:80/a@b"),
    ],
)
def test_secrets_are_left_out(text: str, kept: str) -> None:
    assert without_secrets(text) == kept


def test_secret_values_of_the_environment_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_SECRET", "correct-horse")
    assert without_secrets("got correct-horse") == "got ***"
