"""MLflow's own server beside this one: both are asked the same, and what differs is listed in docs/mlflow.md."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.mlflow.environments import HERE, ROOT, python_of
from tests.mlflow.wrong_turns import TURNS, put_to
from tests.server.serving import served

pytestmark = [pytest.mark.mlflow, pytest.mark.slow]
_LIST_ROUTES = """
from mlflow.server.handlers import get_endpoints
for path, method in sorted({(path, method) for path, _, methods in get_endpoints() for method in methods}):
    print(method, path)
"""


@pytest.fixture(scope="session")
def whole_python() -> Path:
    return python_of(".venv-mlflow-full", "requirements-full.txt")


@contextmanager
def mlflows_own(python: Path, folder: Path) -> Iterator[httpx2.Client]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(python), "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until = time.monotonic() + 180
            while True:
                try:
                    client.get("/health").raise_for_status()
                    break
                except httpx2.HTTPError:
                    assert process.poll() is None, (folder / "log").read_text()[-2000:]
                    assert time.monotonic() < until, "MLflow's server does not start"
                    time.sleep(0.5)
            yield client
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=60)


def test_wrong_turns_are_answered_alike_or_listed(whole_python: Path, tmp_path: Path) -> None:
    with mlflows_own(whole_python, tmp_path) as theirs, served(tmp_path / ".headway") as ours:
        expected, found = put_to(theirs), put_to(ours)
    assert len(found) == len(TURNS), "two turns have one name"
    differing = {name for name in found if found[name][:2] != expected[name][:2]}
    section = (ROOT / "docs" / "mlflow.md").read_text().partition("## Other answers")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| ([^|]+?) \|", section.partition("|---|")[2], re.MULTILINE))
    assert differing == listed, {name: (found[name], expected[name]) for name in differing ^ listed}


def test_the_list_of_routes_is_that_of_the_server(whole_python: Path) -> None:
    done = subprocess.run(
        [str(whole_python), "-c", _LIST_ROUTES], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == (HERE / "routes.txt").read_text()
