"""Worker processes: their limits, their ends, and the end of all that they have started."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from headway.engines.execution.output import KEPT_BYTES, TAIL_BYTES
from headway.errors import RunCancelled, StepFailed
from headway.lifecycle.runs.records import StepState
from headway.lifecycle.runs.results import resolved
from tests.engines.execution import steps
from tests.engines.execution.running import Runner


@pytest.fixture
def run() -> Runner:
    return Runner()


def alive(pid: int) -> bool:
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def ours() -> list[str]:
    """What is left of this process's crews."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "step_worker" in " ".join(each.cmdline()) and each.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{each.pid} {each.cmdline()}")
    return found


def daemon(folder: Path) -> int:
    return int((folder / "daemon").read_text())


def test_a_step_that_takes_too_long_is_ended_with_all_that_it_started(run: Runner, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"step 'hang' failed: took longer than timeout_s=2"):
        run.workers(steps.hanging, folder=str(tmp_path))
    steps.until(lambda: not alive(daemon(tmp_path)), "the daemon is gone")
    assert run.session.steps["slowly"].state is StepState.DONE
    assert ours() == []


def test_memory(run: Runner) -> None:
    assert resolved(run.workers(steps.memory, mb=50)) == 50
    with pytest.raises(StepFailed, match="MemoryError"):
        run.workers(steps.memory, mb=600)


def test_a_step_whose_worker_was_killed_is_begun_anew_once(run: Runner, tmp_path: Path) -> None:
    assert resolved(run.workers(steps.dying, folder=str(tmp_path), times=1)) == 2
    (tmp_path / "more").mkdir()
    with pytest.raises(StepFailed, match=r"its worker was ended by signal 9 \(SIGKILL\); was there too little memory"):
        run.workers(steps.dying, folder=str(tmp_path / "more"), times=9)
    assert len(steps.notes(tmp_path / "more")) == 2


def interrupted(run: Runner, folder: Path, act: Callable[[int, int], None]) -> None:
    """Run the pipeline that waits, and `act` on its worker and keeper once it does."""

    def later() -> None:
        steps.until(lambda: any(each.startswith("waits") for each in steps.notes(folder)), "the step runs")
        said = next(each for each in steps.notes(folder) if each.startswith("waits")).split()
        act(int(said[1]), int(said[2]))

    thread = threading.Thread(target=later)
    thread.start()
    try:
        run.workers(steps.waiting, folder=str(folder))
    finally:
        thread.join()


def test_a_run_that_is_stopped_ends_its_steps_and_keeps_what_was_done(run: Runner, tmp_path: Path) -> None:
    def stop(worker: int, keeper: int) -> None:
        run.executor.stop()  # type: ignore[union-attr]

    with pytest.raises(RunCancelled):
        interrupted(run, tmp_path, stop)
    assert not alive(daemon(tmp_path))
    assert ours() == []
    states = [each.state for each in run.session.steps.values()]
    assert states == [StepState.DONE, StepState.CANCELLED, StepState.CANCELLED]


@pytest.mark.parametrize("victim", ["keeper", "server", "both"])
def test_killing_what_is_above_a_worker_ends_it_with_all_that_it_started(
    run: Runner, tmp_path: Path, victim: str
) -> None:
    """The step is begun anew, waits again, and is stopped then."""
    gone: list[int] = []

    def kill(worker: int, keeper: int) -> None:
        first = daemon(tmp_path)
        server = psutil.Process(keeper).ppid()
        gone.extend((first, worker))
        for pid in {"keeper": [keeper], "server": [server], "both": [server, keeper]}[victim]:
            os.kill(pid, signal.SIGKILL)
        waits = [each for each in steps.notes(tmp_path) if each.startswith("waits")]
        assert waits
        steps.until(lambda: len([n for n in steps.notes(tmp_path) if n.startswith("waits")]) > 1, "it runs again")
        run.executor.stop()  # type: ignore[union-attr]

    with pytest.raises(RunCancelled):
        interrupted(run, tmp_path, kill)
    # Whoever adopts the daemon of a worker whose keeper and fork server were killed together is not ours to choose.
    expected = gone if victim != "both" else gone[1:]
    steps.until(lambda: not any(alive(each) for each in expected), f"{expected} are gone")
    with suppress(ProcessLookupError):
        os.kill(gone[0], signal.SIGKILL)
    assert ours() == []


def test_what_a_step_prints_is_kept_within_bounds_and_without_secrets(run: Runner) -> None:
    run.workers(steps.saying, lines=2)
    text = run.session.logs["say"]
    assert text.startswith("straight to the descriptor\n") or text.startswith("token=***\n")
    assert "very-secret" not in text
    assert text.endswith("x\nthe end, without a newline")
    run.workers(steps.saying, lines=40_000)
    text = run.session.logs["say"]
    assert KEPT_BYTES < len(text) < KEPT_BYTES + TAIL_BYTES + 200
    assert "characters of the output were not kept" in text
    assert text.endswith("the end, without a newline")
