"""Adding a table that shares a part, killed after each blob that it puts: the version is there whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from headway import sdk
from tests.crashes.test_folders import ROOT, sound

GROWN = pl.DataFrame({"x": np.random.default_rng(1).random(20_200)})


def started(home: Path, file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.crashes.tables", str(home), str(file)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def killed_after(home: Path, file: Path, blobs: int) -> bool:
    """Whether it was: False once it needed no more."""
    process = started(home, file)
    assert process.stdout is not None
    assert process.stdin is not None
    for left in reversed(range(blobs)):
        if not process.stdout.readline().startswith("b3:"):
            process.communicate()
            return False
        if left:
            process.stdin.write("go\n")
            process.stdin.flush()
    process.kill()  # while it waits
    process.communicate()
    assert process.returncode == -9
    return True


def test_adding_that_is_killed_leaves_the_version_before_and_goes_on(tmp_path: Path) -> None:
    home, file = tmp_path / ".headway", tmp_path / "t.parquet"
    GROWN.write_parquet(file)
    with sdk.open_client(home=home) as client:
        client.datasets.add("t", GROWN.head(20_000))
    before, blobs = sound(home), 0
    while killed_after(home, file, blobs + 1):
        blobs += 1
        assert sound(home) == before
        with sdk.open_client(home=home) as client:
            assert client.datasets.version("t").number == 1
            assert client.datasets.read("t").equals(GROWN.head(20_000))
    assert blobs >= 4  # the table, what is new of it, the profile, the manifest
    with sdk.open_client(home=home) as client:
        second = client.datasets.version("t")
        assert (second.number, len(second.parts), second.new_rows) == (2, 2, 200)
        assert client.datasets.read("t").equals(GROWN)
    assert sound(home) < 1.2 * before
