"""Importing from MLflow's own tracking server, as it comes from the registry."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from headway.client.mlflow.opening import open_source
from headway.client.mlflow.server import ServerSource
from headway.client.mlflow.wire import Wire
from headway.server.home import Home
from tests.mlflow.comparison import told_by
from tests.mlflow.environments import python_of
from tests.mlflow.test_import import source_of
from tests.server.world import open_world

HERE = Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.mlflow]
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}  # fmt: skip


class Original(NamedTuple):
    url: str
    folder: Path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    python, folder = (
        python_of(".venv-mlflow-server", "requirements-server.txt"),
        tmp_path_factory.mktemp("mlflow"),
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(python), "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"), "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = os.environ | QUIET
    server = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url)
        seeding = [str(python), str(HERE / "seed.py"), url]
        done = subprocess.run(
            seeding, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield Original(url, folder)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx2.get(f"{url}/health").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.2)
    raise AssertionError("MLflow's server does not start")


def headway(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "headway.cli", "--home", str(home), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_all_of_it_arrives_also_when_it_was_killed_in_between(original: Original, tmp_path: Path) -> None:
    home = tmp_path / ".headway"
    for after_s in (0.9, 1.2, 1.6):
        Home(home).prepare()
        process = headway(home, "import", "mlflow", original.url, "--deleted")
        time.sleep(after_s)
        process.kill()
        process.communicate()
    done = headway(home, "import", "mlflow", original.url, "--deleted")
    said, complaints = done.communicate(timeout=120)
    assert done.returncode == 0, complaints
    assert "Left out" not in said
    world = open_world(home)
    try:
        with closing(ServerSource(Wire(original.url, {}))) as source:
            ours, theirs = told_by(source_of(world)), told_by(source)
        for what in theirs:
            assert ours[what] == theirs[what], what
    finally:
        world.close()
    verified = headway(home, "ledger", "verify")
    assert "entries hold" in verified.communicate(timeout=60)[0]


def test_its_database_tells_the_same_without_a_server(original: Original, tmp_path: Path) -> None:
    uri, artifacts = f"sqlite:///{original.folder}/mlflow.db", original.folder / "artifacts"
    home = tmp_path / ".headway"
    Home(home).prepare()
    done = headway(home, "import", "mlflow", uri, "--deleted", "--artifacts", str(artifacts))
    said, complaints = done.communicate(timeout=120)
    assert done.returncode == 0, complaints
    assert "Left out: 1\n  1 traces of experiment 'traces': they are read from a server only" in said
    world = open_world(home)
    try:
        with closing(ServerSource(Wire(original.url, {}))) as server:
            ours, theirs = told_by(source_of(world)), told_by(server)
        with closing(open_source(uri, {}, artifacts)) as database:
            read = told_by(database)
        for what in theirs.keys() - {"traces"}:
            assert read[what] == theirs[what], what
            assert ours[what] == theirs[what], what
    finally:
        world.close()
