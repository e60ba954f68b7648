"""Copies of files that steps were handed are gone when nobody needs them, however their process ended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from headway.engines.pipelines import scratch
from headway.errors import StepFailed
from headway.lifecycle.runs.results import resolved
from tests.engines.execution import steps
from tests.engines.execution.running import ROOT, Runner

_HOLDER = """
import os, sys
from headway.engines.pipelines import scratch

def copied() -> str:
    return str(scratch.copied(["a.txt", ""], ["b"], lambda blob: b"text", lambda blob: None))

print(copied(), flush=True)
if sys.argv[1] == "fork":
    if not os.fork():
        print(copied(), flush=True)
        sys.exit()
    os.wait()
    print("waited", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def holder(how: str) -> subprocess.Popen[str]:
    """A process that was handed a file; it ends when its input does."""
    return subprocess.Popen(
        [sys.executable, "-c", _HOLDER, how], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def left(temporary: Path) -> list[str]:
    return [each.name for each in temporary.glob("headway-*")]


def test_a_worker_has_them_for_as_long_as_the_step_runs(tmp_path: Path, temporary: Path) -> None:
    last = resolved(Runner().workers(steps.files, workers=1, folder=str(tmp_path)))
    first, second = (each.split() for each in steps.notes(tmp_path))
    assert first[:2] == second[:2] == ["took", "given"]
    assert Path(last).is_relative_to(temporary)
    assert second[3] == "False"  # what the step before was handed
    assert left(temporary) == []


def test_the_run_removes_what_a_killed_worker_has_left(tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(StepFailed, match="SIGKILL"):
        Runner().workers(steps.files, workers=1, folder=str(tmp_path), dies=True)
    assert len(steps.notes(tmp_path)) == 3
    assert left(temporary) == []


def test_who_comes_next_removes_what_a_killed_process_has_left_and_nothing_else(temporary: Path) -> None:
    victim, other = holder("alone"), holder("alone")
    try:
        path, kept = Path(line(victim)), Path(line(other))
        scratch.sweep()
        assert path.read_text() == kept.read_text() == "text"
        victim.kill()
        victim.wait()
        assert path.read_text() == "text"
        scratch.sweep()
        assert not path.exists()
        assert kept.read_text() == "text"
    finally:
        for each in (victim, other):
            with suppress(BrokenPipeError):
                each.communicate(timeout=60)
    assert other.returncode == 0
    assert left(temporary) == []


def test_a_fork_leaves_those_of_its_parent_alone(temporary: Path) -> None:
    process = holder("fork")
    first, second = Path(line(process)), Path(line(process))
    assert line(process) == "waited"
    assert first.read_text() == "text"
    assert not second.exists()
    assert first.parents[1] != second.parents[1]
    process.communicate(timeout=60)
    assert left(temporary) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a folder of another user")
def test_a_folder_of_somebody_else_is_left_alone(temporary: Path) -> None:
    folder = temporary / "headway-scratch-other"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    scratch.sweep()
    assert folder.exists()
    (temporary / "headway-scratch-link").symlink_to(folder)
    os.chown(folder, 0, 0)
    scratch.sweep()
    assert left(temporary) == ["headway-scratch-link"]
