"""Steps side by side: what comes out is what comes out in one process, however they are scheduled."""

from __future__ import annotations

import dataclasses
import enum
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.execution.endings import CannotTravel
from headway.engines.execution.parcels import unwrapped, wrapped
from headway.engines.execution.promises import settled
from headway.errors import BadPipeline, HeadwayError, StepFailed
from headway.kernel.records import digest
from headway.lifecycle.runs.pipeline import pipeline, step
from headway.lifecycle.runs.records import StepState
from headway.lifecycle.runs.results import resolved
from headway.testing.session import MemorySession
from tests.engines.execution import steps
from tests.engines.execution.running import Runner


@pytest.fixture
def run() -> Runner:
    return Runner()


def facts(session: MemorySession) -> list[tuple[Any, ...]]:
    """What must be the same wherever it ran: names, order, keys, states and outputs."""
    return [
        (name, each.key, each.state, [output.blob for output in session.results[each.key].outputs])
        for name, each in session.steps.items()
    ]


def test_names_order_keys_and_results_are_those_of_one_process(run: Runner) -> None:
    expected = resolved(run.in_process(steps.sums, rows=6, factor=3))
    here, nodes = facts(run.session), run.session.nodes
    other = Runner()
    assert resolved(other.workers(steps.sums, rows=6, factor=3)) == expected
    assert facts(other.session) == here
    assert other.session.nodes == nodes
    assert resolved(other.in_process(steps.sums, rows=6, factor=3)) == expected
    assert {each.state for each in other.session.steps.values()} == {StepState.CACHED}


def test_what_is_cached_needs_no_worker(run: Runner) -> None:
    run.in_process(steps.sums)

    def none() -> Any:
        raise AssertionError("a worker was asked for")

    session = run.next()
    assert resolved(run._run(session, none, steps.sums, 2, (), {})) is not None
    assert {each.state for each in session.steps.values()} == {StepState.CACHED}


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    size = draw(st.integers(1, 14))
    return [sorted(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else [] for number in range(size)]


@settings(max_examples=15, deadline=None)
@given(edges=graphs(), workers=st.integers(1, 4))
def test_any_graph_gives_what_it_gives_in_one_process(edges: list[list[int]], workers: int) -> None:
    """Also with steps that fail: those that do not need them are done all the same."""
    run, other = Runner(), Runner()
    try:
        expected: Any = resolved(run.in_process(steps.graph, edges=edges))
    except StepFailed as error:
        expected = str(error)
    try:
        found: Any = resolved(other.inline(steps.graph, edges=edges, workers=workers))
    except StepFailed as error:
        found = str(error)
    assert found == expected
    for name, each in run.session.steps.items():
        assert other.session.steps[name].key == each.key
        assert other.session.steps[name].state == each.state
    reached = {0: True}
    for number, inputs in enumerate(edges):
        reached[number] = number % 7 != 3 and all(reached[each] for each in inputs)
        name = "combine" if not number else f"combine-{number + 1}"
        done = other.session.steps[name].state is StepState.DONE
        assert done or not reached[number]
        assert reached[number] or other.session.steps[name].state in (StepState.FAILED, StepState.CANCELLED)
    assert resolved_again(other, edges, workers) == expected


def resolved_again(run: Runner, edges: list[list[int]], workers: int) -> Any:
    try:
        return resolved(run.inline(steps.graph, edges=edges, workers=workers))
    except StepFailed as error:
        return str(error)


def test_independent_steps_run_at_the_same_time(run: Runner, tmp_path: Path) -> None:
    assert resolved(run.workers(steps.pair, folder=str(tmp_path))) == ["left", "right"]


def test_a_step_of_two_cpus_runs_alone_where_there_are_two(run: Runner, tmp_path: Path) -> None:
    run.inline(steps.one_by_one, folder=str(tmp_path), workers=2)
    noted = steps.notes(tmp_path)
    assert [each.split()[0] for each in noted] == ["begin", "end"] * 3
    assert [each.split()[1] for each in noted] == list("aabbcc")


def test_a_failure_leaves_what_does_not_need_it_done(run: Runner, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"step 'fail' failed: ValueError: no more of this \(steps.py:\d+ in fail\)"):
        run.inline(steps.with_a_failure, folder=str(tmp_path))
    states = {name: each.state for name, each in run.session.steps.items()}
    assert states == {
        "fail": StepState.FAILED, "slowly": StepState.CANCELLED, "slowly-2": StepState.DONE,
        "slowly-3": StepState.DONE,
    }  # fmt: skip
    assert sorted(steps.notes(tmp_path)) == ["fail", "one", "two"]
    with pytest.raises(StepFailed):
        run.inline(steps.with_a_failure, folder=str(tmp_path))
    assert run.session.steps["slowly-3"].state is StepState.CACHED


def test_retries_are_counted_and_come_in_one_process_as_elsewhere(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert resolved(run.inline(steps.trying, folder=str(tmp_path / "a"), times=2)) == 3
    assert run.session.steps["stubborn"].attempts == 3
    assert resolved(run.in_process(steps.trying, folder=str(tmp_path / "b"), times=2)) == 3
    assert run.session.steps["stubborn"].attempts == 3
    for number, way in enumerate((run.inline, run.in_process)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(StepFailed, match="not yet"):
            way(steps.trying, folder=str(folder), times=3)
        assert len(steps.notes(folder)) == 3


def test_a_handle_is_unpacked_before_its_step_is_done_and_held_to_its_annotation(run: Runner) -> None:
    with pytest.raises(BadPipeline, match=r"gives \(int, int, int\), and its annotation says tuple\[int, int\]"):
        resolved(run.inline(steps.unpacking))


def test_gpus_are_handed_out_one_by_one(run: Runner) -> None:
    with pytest.raises(BadPipeline, match="needs 1 GPUs, and there are 0"):
        run.inline(steps.on_cards, many=1)
    found = resolved(run.workers(steps.on_cards, many=2, gpus=["GPU-a", "GPU-b"]))
    assert sorted(found) in (["GPU-a", "GPU-b"], ["GPU-a", "GPU-a"], ["GPU-b", "GPU-b"])


def test_what_cannot_travel_runs_here_unless_its_limits_forbid(run: Runner) -> None:
    ran: list[int] = []

    def body(n: int) -> int:
        ran.append(threading.get_ident())
        return n + 1

    @pipeline
    def local(limit: float) -> Any:
        return step(name="body", timeout_s=limit, cache=False)(body)(3)

    assert resolved(run.inline(local, limit=0.0)) == 4
    assert len(ran) == 1
    with pytest.raises(BadPipeline, match=r"cannot go there: .*define it at the top of a file"):
        run.inline(local, limit=1.0)


@pytest.mark.parametrize(
    ("option", "value"), [("cpus", 0), ("cpus", 1.5), ("retries", -1), ("timeout_s", "1"), ("memory_mb", True)]
)
def test_wrong_limits(option: str, value: Any) -> None:
    with pytest.raises(BadPipeline, match=f"{option} is a"):
        step(name="x", **{option: value})(lambda: 1)
    with pytest.raises(HeadwayError, match="did you mean 'timeout_s'"):
        step(name="x", timeout=3)  # type: ignore[call-overload]


class Colour(enum.Enum):
    RED = "r"


@dataclasses.dataclass(frozen=True)
class Settings:
    folder: Path
    colours: frozenset[Colour]
    inner: tuple[Any, ...] = ()


@pytest.mark.parametrize(
    "value",
    [
        None, 1, 2.5, "é", b"\0", [1, (2, "x")], {1: {"a": (1,)}}, (), {}, Colour.RED, {1, 2}, frozenset({"a"}),
        range(3, 9, 2),
        date(2020, 2, 29), datetime(2020, 1, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2020, 1, 1),
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), timedelta(days=-1, microseconds=3),
        Decimal("1.10"), UUID(int=7), Path("/a/b"), 3 + 4j, 2**80, float("inf"),
        Settings(Path("x"), frozenset({Colour.RED}), (date(2020, 1, 1), [Colour.RED, {Decimal(1): 2}])), Settings,
        Colour,
        [Settings, {"step": steps.load}],
    ],
    ids=repr,
)  # fmt: skip
def test_arguments_travel_as_what_they_are(value: Any) -> None:
    """Through the same encoding that goes to another process."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        blobs[digest(data)] = data
        return digest(data)

    node = msgspec.msgpack.decode(msgspec.msgpack.encode(wrapped(value, put, settled)))
    found = unwrapped(node, blobs.__getitem__)
    assert found == value
    assert type(found) is type(value)
    assert getattr(found, "fold", 0) == getattr(value, "fold", 0)


def test_what_has_no_form_does_not_travel() -> None:
    for value in (object(), [lambda: 1], threading.Lock()):
        with pytest.raises(CannotTravel):
            wrapped(value, digest, settled)


def test_where_no_worker_can_begin_nobody_waits_for_one(run: Runner) -> None:
    def none() -> Any:
        raise OSError("no process can be made")

    raised: list[BaseException] = []

    def tried() -> None:
        try:
            run._run(run.next(), none, steps.sums, 2, (), {})
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=tried, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert "no process can be made" in str(raised[0])
