"""At most one worker for each key, started anew when it dies, ended when nobody waits for it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.engines import processes
from headway.engines.workers import ATTEMPTS, PARENT, Workers

SLEEP = f"import os, time; print(os.environ['ROLE'], os.environ['{PARENT}'], flush=True); time.sleep(60)"
END = "import sys; sys.exit(1)"


def waited(look: Callable[[], object], patience_s: float = 60.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.01)
    return False


Make = Callable[[str], Workers]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Workers] = []

    def workers(program: str) -> Workers:
        command = (sys.executable, "-c", program)
        made.append(Workers(tmp_path / "workers", command, lambda role: {"ROLE": role}))
        return made[-1]

    yield workers
    for each in made:
        each.close()


def pid_of(workers: Workers, key: str) -> int:
    child = processes.recall(workers.log(key).with_suffix(".json"))
    assert child
    return child.pid


def test_a_key_has_one_worker_with_its_role_and_parent(make: Make, tmp_path: Path) -> None:
    workers = make(SLEEP)
    assert workers.ensure("rn_1", "worker", ["run", "rn_1"], tmp_path)
    first = pid_of(workers, "rn_1")
    assert workers.ensure("rn_1", "worker", ["run", "rn_1"], tmp_path)
    assert pid_of(workers, "rn_1") == first
    assert workers.busy("rn_1")
    assert not workers.busy("rn_2")
    assert waited(lambda: workers.log("rn_1").read_text() == f"worker {os.getpid()}\n")


def test_one_that_dies_is_started_again_until_it_is_given_up(make: Make) -> None:
    workers = make(END)
    for _ in range(ATTEMPTS):
        assert workers.ensure("rn_1", "worker", ["run", "rn_1"])
        assert waited(lambda: not workers.busy("rn_1"))
    assert not workers.ensure("rn_1", "worker", ["run", "rn_1"])
    workers.keep([])
    assert workers.ensure("rn_1", "worker", ["run", "rn_1"]), "a key that was dropped begins afresh"


def test_what_a_worker_says_at_its_end_is_told(make: Make) -> None:
    workers = make("import sys; print('begins'); sys.exit('no way to db://ada:hush-hush@here\\n')")
    assert workers.last_words("gate-ch_1") == "its last words, in gate-ch_1.log: nothing"
    workers.ensure("gate-ch_1", "gatekeeper", ["gate", "ch_1"])
    assert waited(lambda: not workers.busy("gate-ch_1"))
    assert workers.last_words("gate-ch_1") == "its last words, in gate-ch_1.log: no way to db://ada:***@here"
    long = make("raise SystemExit('x' * 10_000)")
    long.ensure("rn_1", "worker", ["run", "rn_1"])
    assert waited(lambda: not long.busy("rn_1"))
    assert long.last_words("rn_1") == f"its last words, in rn_1.log: {'x' * 300}"


def test_one_that_is_killed_is_started_again(make: Make) -> None:
    workers = make(SLEEP)
    workers.ensure("rn_1", "worker", ["run", "rn_1"])
    first = pid_of(workers, "rn_1")
    os.kill(first, signal.SIGKILL)
    assert waited(lambda: not workers.busy("rn_1"))
    assert workers.ensure("rn_1", "worker", ["run", "rn_1"])
    assert pid_of(workers, "rn_1") != first


def test_one_that_an_earlier_control_plane_started_is_ended_first(make: Make) -> None:
    earlier, later = make(SLEEP), make(SLEEP)
    earlier.ensure("rn_1", "worker", ["run", "rn_1"])
    first = pid_of(earlier, "rn_1")
    assert later.ensure("rn_1", "worker", ["run", "rn_1"])
    assert not earlier.busy("rn_1")
    assert pid_of(later, "rn_1") != first


def test_what_nobody_waits_for_is_ended_and_its_note_dropped(make: Make) -> None:
    workers = make(SLEEP)
    workers.ensure("rn_1", "worker", ["run", "rn_1"])
    workers.ensure("rn_2", "worker", ["run", "rn_2"])
    workers.keep({"rn_2", "rn_3"})
    assert not workers.busy("rn_1")
    assert workers.busy("rn_2")
    notes = sorted(note.name for note in workers.log("rn_1").parent.glob("*.json"))
    assert notes == ["rn_2.json"]


def test_all_are_ended_at_the_end(make: Make) -> None:
    workers = make(SLEEP)
    workers.ensure("rn_1", "worker", ["run", "rn_1"])
    workers.ensure("gate-ch_1", "gatekeeper", ["gate", "ch_1"])
    workers.close()
    assert not workers.busy("rn_1")
    assert not workers.busy("gate-ch_1")
