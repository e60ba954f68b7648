"""MLflow's own client, unmodified and in an environment of its own, against a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.mlflow.environment import client_environment
from tests.server.serving import served

STORY = Path(__file__).parent / "story.py"
pytestmark = pytest.mark.mlflow


@pytest.fixture(scope="session")
def client_python() -> Path:
    return client_environment()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with served(tmp_path_factory.mktemp("served") / ".headway") as client:
        yield client


@pytest.mark.parametrize(
    "chapters",
    [
        ["experiments", "runs_and_what_they_log", "search", "artifacts", "traces"],
        ["a_model_from_training_to_an_alias"],
    ],
    ids=["tracking", "models"],
)
def test_the_client_works_as_it_is(
    client_python: Path, server: httpx2.Client, chapters: list[str], tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_TOKEN": server.headers["authorization"].removeprefix("Bearer "),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [str(client_python), str(STORY), str(server.base_url), *chapters]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    said = [line.removeprefix("done ") for line in done.stdout.splitlines() if line.startswith("done ")]
    assert said == chapters, done.stderr[-3000:]
    assert server.get("/v1/status").is_success
