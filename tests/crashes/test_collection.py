"""Writers in processes of their own, and a collector that is killed: nothing that was answered is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headway.kernel.access import SYSTEM
from headway.kernel.ledger import verify
from headway.kernel.records import digest
from headway.server.app import compose
from headway.server.settings import Settings

ROOT = Path(__file__).parents[2]


def started(work: str, home: Path, seconds: float, seed: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.crashes.collecting", work, str(home), str(seconds), str(seed)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("seconds", "kills"), [(1.0, 1), pytest.param(20.0, 20, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_writers_and_a_collector_that_is_killed(tmp_path: Path, seconds: float, kills: int) -> None:
    home, chance = tmp_path / ".headway", random.Random(kills)
    compose(Settings(home=home)).close()
    writers = [started("write", home, seconds + kills, seed) for seed in range(2)]
    for _ in range(kills):
        collector = started("collect", home, 60.0)
        assert collector.stdout is not None
        assert collector.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.05, seconds / kills))
        collector.kill()
        collector.wait()
        collector.stdout.close()
    told = [line.split() for writer in writers for line in writer.communicate()[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0]
    answered = {(run, name) for run, name in told if run != "refused"}
    assert len(answered) == 8
    application = compose(Settings(home=home))
    try:
        artifacts = [each for run in {run for run, _ in answered} for each in application.platform.runs.artifacts(run)]
        for artifact in artifacts:
            assert digest(application.blobs.get(artifact.blob)) == artifact.blob
        runs = {run for run, _ in answered}
        held = {artifact.blob for run in runs for artifact in application.stores.artifacts.list(run)}
        swept = application.platform.sweeps.sweep(by=SYSTEM, older_than_s=0)
        assert swept.missing == ()
        assert {blob.digest for blob in application.blobs.all()} == held
        assert not list(application.blobs.discarded())
        verify(application.stores.ledger)
    finally:
        application.close()
