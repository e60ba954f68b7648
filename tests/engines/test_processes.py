"""Child processes: found again by pid and mark, ended with all they started, and no other is ever hit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from headway.engines import processes
from headway.engines.processes import Child

MARK = "a-mark-of-this-test"


def waited(look: Callable[[], object], patience_s: float = 60.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.01)
    return False


def runs(pid: int) -> bool:
    return bool(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Child]]:
    """Starts a Python program, marked; it says `up` to its log when it begins."""
    started: list[Child] = []

    def begin(program: str) -> Child:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        pid = processes.start([sys.executable, "-c", f"print('up', flush=True)\n{program}", MARK], log)
        started.append(Child(pid=pid, mark=MARK))
        assert waited(lambda: b"up" in log.read_bytes())
        return started[-1]

    yield begin
    for child in started:
        processes.end(child, patience_s=0.1)


def test_one_that_runs_is_alive_until_it_ends(start: Callable[[str], Child]) -> None:
    child = start("import time; time.sleep(60)")
    assert processes.alive(child)
    processes.end(child)
    assert not processes.alive(child)
    assert not runs(child.pid)


def test_another_process_with_its_number_is_not_taken_for_it() -> None:
    here = Child(pid=os.getpid(), mark="a mark that this process does not bear")
    assert not processes.alive(here)
    processes.end(here)


def test_one_that_does_not_listen_is_killed(start: Callable[[str], Child], tmp_path: Path) -> None:
    child = start(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)"
    )
    assert waited(lambda: b"deaf" in (tmp_path / "log").read_bytes())
    processes.end(child, patience_s=0.2)
    assert not runs(child.pid)


STARTS_ANOTHER = "import subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\n"


def grandchild(tmp_path: Path) -> int:
    assert waited(lambda: len((tmp_path / "log").read_text().split()) == 2)
    return int((tmp_path / "log").read_text().split()[1])


def test_what_it_has_started_is_ended_with_it(start: Callable[[str], Child], tmp_path: Path) -> None:
    child = start(STARTS_ANOTHER + "time.sleep(60)")
    pid = grandchild(tmp_path)
    processes.end(child)
    assert waited(lambda: not runs(pid))


def test_what_it_has_started_is_ended_when_it_is_found_dead(start: Callable[[str], Child], tmp_path: Path) -> None:
    child = start(STARTS_ANOTHER)
    pid = grandchild(tmp_path)
    assert waited(lambda: not processes.alive(child))
    assert waited(lambda: not runs(pid))


def test_a_note_brings_it_back_in_another_process(start: Callable[[str], Child], tmp_path: Path) -> None:
    child, note = start("import time; time.sleep(60)"), tmp_path / "notes" / "child.json"
    assert processes.recall(note) is None
    processes.remember(child, note)
    program = (
        "import sys; from pathlib import Path; from headway.engines import processes\n"
        "child = processes.recall(Path(sys.argv[1]))\n"
        "assert processes.alive(child); processes.end(child); assert not processes.alive(child)"
    )
    subprocess.run([sys.executable, "-c", program, str(note)], check=True)
    assert waited(lambda: not processes.alive(child))


@pytest.mark.parametrize("text", [b"", b"{", b'{"pid": "one"}', b"\xff"])
def test_an_unreadable_note_is_nobodys(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "note").write_bytes(text)
    assert processes.recall(tmp_path / "note") is None


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    processes.write_whole(file, b"old")
    with file.open("rb") as reader:
        processes.write_whole(file, b"new")
        assert reader.read() == b"old"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]
