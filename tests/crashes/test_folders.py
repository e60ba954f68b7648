"""Adding and checking out folders, killed amid it: nothing half done is ever a version or a file, and it goes on."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from headway.client.files.scanning import UNFINISHED
from headway.kernel.access import SYSTEM
from headway.kernel.ledger import verify
from headway.server.app import compose
from headway.server.settings import Settings

ROOT = Path(__file__).parents[2]
FILES = 60
WAYS = ("platform", "direct")


def started(way: str, work: str, home: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.crashes.folders", work, str(home), str(folder), way]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def killed_after(way: str, lines: int, work: str, home: Path, folder: Path) -> None:
    process = started(way, work, home, folder)
    assert process.stdout is not None
    assert process.stdin is not None
    for _ in range(lines - 1):
        assert process.stdout.readline().strip().isdecimal()
        process.stdin.write("go\n")
        process.stdin.flush()
    assert process.stdout.readline().strip().isdecimal()
    process.kill()  # while it waits
    process.communicate()
    assert process.returncode == -9


def finished(way: str, work: str, home: Path, folder: Path) -> list[str]:
    process = started(way, work, home, folder)
    told, _ = process.communicate(timeout=300)  # its standard input is at its end, so it waits for nothing
    assert process.returncode == 0
    return told.splitlines()


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sound(home: Path) -> int:
    """Bytes that the blobs take, once nothing is left that nobody needs."""
    application = compose(Settings(home=home))
    try:
        verify(application.stores.ledger)
        swept = application.platform.sweeps.sweep(by=SYSTEM, older_than_s=0)
        assert swept.missing == ()
        return sum(blob.size for blob in application.blobs.all())
    finally:
        application.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(FILES):
        path = tmp_path / "data" / f"d{number % 5}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(50_000))
    return tmp_path / "data"


@pytest.mark.parametrize("way", WAYS)
def test_adding_and_checking_out_that_are_killed_go_on(tmp_path: Path, folder: Path, way: str) -> None:
    home, out = tmp_path / ".headway", tmp_path / "out"
    killed_after(way, FILES // 2, "add", home, folder)
    assert sound(home) == 0
    assert list((home / "uploads").iterdir()) == []
    assert finished(way, "add", home, folder)[-1] == "things@1"
    assert sound(home) > FILES * 50_000
    for lines in (7, 20):
        killed_after(way, lines, "checkout", home, out)
        whole = content(folder)
        for path, data in content(out).items():
            assert path.rpartition("/")[2].startswith(UNFINISHED) or data == whole[path]
    last = finished(way, "checkout", home, out)[-1]
    assert last.startswith("things@1 kept ")
    assert int(last.split()[-1]) >= 26
    assert content(out) == content(folder)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_what_an_add_has_sent_before_it_was_killed_is_not_sent_again(tmp_path: Path, way: str) -> None:
    home, data = tmp_path / ".headway", tmp_path / "data"
    data.mkdir()
    for number in range(300):
        (data / f"f{number:03}").write_bytes(os.urandom(1_000_000))
    killed_after(way, 250, "add", home, data)
    sent = sum(path.stat().st_size for path in (home / "blobs").rglob("*") if path.is_file())
    assert sent > 64 << 20
    finished(way, "add", home, data)
    assert sound(home) < 305_000_000
    finished(way, "checkout", home, tmp_path / "out")
    assert content(tmp_path / "out") == content(data)
