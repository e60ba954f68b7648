"""MLflow's own client, unmodified and in an environment of its own, against a real server."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.server.serving import served

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
pytestmark = pytest.mark.mlflow


@pytest.fixture(scope="session")
def client_python() -> Path:
    """An interpreter that has the client: built once, in `.venv-mlflow`, and again when its requirements change."""
    folder, requirements = ROOT / ".venv-mlflow", HERE / "requirements.txt"
    python, ready = folder / "bin" / "python", folder / "ready"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != requirements.read_text():
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
                if done.returncode:
                    pytest.skip(f"MLflow's client cannot be installed: {done.stderr.strip()[-300:]}")
            ready.write_text(requirements.read_text())
    return python


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with served(tmp_path_factory.mktemp("served") / ".headway") as client:
        yield client


@pytest.mark.parametrize(
    ("story", "chapters"),
    [
        ("story.py", ["experiments", "runs_and_what_they_log", "search", "artifacts", "large_files", "traces"]),
        ("story.py", ["a_model_from_training_to_an_alias"]),
        ("story_of_traces.py", ["spans", "searches", "assessments", "opentelemetry"]),
    ],
    ids=["tracking", "models", "traces"],
)
def test_the_client_works_as_it_is(
    client_python: Path, server: httpx2.Client, story: str, chapters: list[str], tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_TOKEN": server.headers["authorization"].removeprefix("Bearer "),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [str(client_python), str(HERE / story), str(server.base_url), *chapters]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    said = [line.removeprefix("done ") for line in done.stdout.splitlines() if line.startswith("done ")]
    assert said == chapters, done.stderr[-3000:]
    assert server.get("/v1/status").is_success
    if "large_files" in chapters:
        counted = server.get("/metrics").text
        for route in ('"PUT",route="/api/mlflow-artifacts/mpu/part"', "/mpu/complete", "presigned/{path}"):
            assert route in counted
        assert 'status="206"' in counted
