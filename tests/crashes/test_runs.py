"""`kill -9` of whatever works for a run, at any point: it is gone on with, and no finished step is run again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from headway.client.client import Client
from headway.lifecycle.runs.records import Run, RunState, StepState
from headway.sdk import open_client
from tests.journeys.world import until

PROJECT = Path(__file__).parent / "many"
ROOT = Path(__file__).parents[2]
_PATIENCE_S = 240.0


def soon(look: Callable[[], Any], what: str) -> None:
    until(look, what, _PATIENCE_S)


class Place:
    """A project with a home, and what runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        shutil.copytree(PROJECT, self.folder, ignore=shutil.ignore_patterns("__pycache__"))

    def headway(self, *arguments: str) -> subprocess.Popen[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("HEADWAY_")}
        return subprocess.Popen(
            [sys.executable, "-m", "headway.cli", *arguments], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def notes(self) -> list[str]:
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def client(self) -> Client:
        return open_client(home=self.folder / ".headway")

    def newest(self) -> Run:
        with self.client() as client:
            return client.runs.list(limit=1).items[0]

    def processes(self, what: str = "") -> list[int]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                inside = Path(process.cwd()).is_relative_to(self.folder)
                if inside and what in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def quiet(self) -> None:
        soon(lambda: not self.processes(), "nothing of the run is left")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for pid in place.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def killed_at_random(place: Place, *, chains: int, length: int, kills: int, seed: int) -> None:
    """Runner, fork server, keepers and workers are killed at random points until it has been `kills` times; then the
    run comes to its end."""
    chance = random.Random(seed)
    params = [text for name in (f"chains={chains}", f"length={length}") for text in ("-p", name)]
    process = place.headway("--json", "run", "chains", *params, "--workers", "2")
    steps, killed = chains * length, 0
    while killed < kills:
        seen = len(place.notes())
        wanted = seen + chance.randrange(1, max(2, 2 * steps // (kills + 1)))
        soon(lambda: len(place.notes()) >= wanted or process.poll() is not None, "it works")  # noqa: B023
        run = place.newest().id
        if process.poll() is None:
            below = place.processes("step_worker")
            victim = process.pid if killed % 2 == 0 or not below else chance.choice(below)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            killed += 1
            if victim != process.pid:
                continue
        _, complained = process.communicate()
        if place.newest().state is RunState.FINISHED:  # it was killed behind its end, or not at all
            break
        assert process.returncode in (2, -signal.SIGKILL), complained
        place.quiet()
        process = place.headway("--json", "run", "resume", run, "--workers", "2")
    else:
        _, complained = process.communicate(timeout=2 * _PATIENCE_S)
        assert process.returncode == 0, complained
    place.quiet()
    check(place, place.newest().id, steps, killed)


def check(place: Place, run: str, steps: int, killed: int) -> None:
    """All was done, by one run; only what ran when something was killed was done again; the home is whole."""
    ended = Counter(note for note in place.notes() if note.startswith("end"))
    begun = Counter(note for note in place.notes() if note.startswith("begin"))
    assert len(ended) == steps
    again = sum(count - 1 for count in begun.values())
    assert again <= 2 * killed, f"{again} steps were begun again after {killed} kills"
    with place.client() as client:
        found = client.runs.steps(run)
        assert {step.state for step in found} <= {StepState.DONE, StepState.CACHED}
        assert len(found) == steps
        assert client.ledger.verify() > 0
        assert client.runs.get(run).state is RunState.FINISHED


def test_a_run_that_is_killed_again_and_again_is_gone_on_with(place: Place) -> None:
    killed_at_random(place, chains=2, length=6, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_run_of_a_thousand_steps_that_is_killed_again_and_again(place: Place, seed: int) -> None:
    killed_at_random(place, chains=4, length=250, kills=10, seed=seed)


def test_cancel_from_elsewhere_ends_a_run_and_resume_goes_on(place: Place) -> None:
    process = place.headway("run", "lingering")
    soon((place.folder / "daemon").exists, "the step has left a daemon")
    soon(lambda: "lingers" in place.notes(), "the step runs")
    run = place.newest().id
    cancelled = place.headway("--json", "run", "cancel", run)
    said, complained = cancelled.communicate(timeout=_PATIENCE_S)
    assert cancelled.returncode == 0, complained
    assert json.loads(said)["state"] == RunState.CANCELLED
    _, complained = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 2
    assert "cancelled" in complained
    assert f"headway run resume {run[:3]}" in complained
    place.quiet()
    daemon = int((place.folder / "daemon").read_text())
    assert not psutil.pid_exists(daemon)
    (place.folder / "notes").unlink()

    again = place.headway("run", "resume", run)
    soon(lambda: "lingers" in place.notes(), "the step runs again")
    assert place.newest().tags["headway.goes_on_from"] == run
    again.send_signal(signal.SIGINT)
    _, complained = again.communicate(timeout=_PATIENCE_S)
    assert again.returncode == 130
    assert "headway run resume" in complained
    assert place.newest().state is RunState.CANCELLED
    place.quiet()


def test_logs_are_followed_while_a_run_works(place: Place) -> None:
    process = place.headway("run", "chains", "-p", "chains=1", "-p", "length=3", "-p", "pause_s=0.5")
    soon(lambda: len(place.notes()) > 0, "it works")
    run = place.newest().id
    follower = place.headway("run", "logs", run, "--follow")
    said, complained = follower.communicate(timeout=_PATIENCE_S)
    assert follower.returncode == 0, complained
    assert said == "grow | grows 0 0\ngrow-2 | grows 0 1\ngrow-3 | grows 0 2\n"
    assert process.wait(_PATIENCE_S) == 0
    process.communicate()
    one = place.headway("run", "logs", run, "grow-2").communicate(timeout=_PATIENCE_S)
    assert one[0] == "grows 0 1\n"
    none = place.headway("run", "logs", run, "grow-9").communicate(timeout=_PATIENCE_S)
    assert "has no step 'grow-9'" in none[1]


@pytest.mark.slow  # a lease has to be waited for
def test_a_run_that_works_is_not_taken_over(place: Place) -> None:
    process = place.headway("run", "lingering")
    soon(lambda: "lingers" in place.notes(), "the step runs")
    run = place.newest().id
    began = time.monotonic()
    other = place.headway("run", "resume", run)
    _, complained = other.communicate(timeout=_PATIENCE_S)
    assert other.returncode == 2
    assert f"another worker holds run {run}" in complained, time.monotonic() - began
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 130
