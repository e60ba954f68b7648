"""MLflow's own client, unmodified and in an environment of its own, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.engines.receivers import receiving
from tests.mlflow.environments import interpreter
from tests.server.serving import served, up

HERE = Path(__file__).parent
STORY = HERE / "story.py"
pytestmark = pytest.mark.mlflow


@pytest.fixture(scope="session")
def client_python() -> Path:
    """An interpreter that has the client."""
    return interpreter(".venv-mlflow", HERE / "requirements.txt")


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
    assert played(client_python, server, chapters, tmp_path) == chapters
    assert server.get("/v1/status").is_success


def test_the_client_makes_webhooks_that_are_told(client_python: Path, tmp_path: Path) -> None:
    with receiving() as receiver, up(tmp_path / ".headway", receiver.listing) as server:
        url = {"RECEIVER": receiver.url}
        assert played(client_python, server.client, ["webhooks"], tmp_path, **url) == ["webhooks"]
        receiver.until(2)
    (_, _, example), (_, headers, body) = receiver.got
    assert json.loads(example)["data"]["test"] is True
    said = json.loads(body)
    assert (said["entity"], said["action"]) == ("registered_model", "created")
    assert said["data"] == {"name": "told", "tags": {}, "description": "of it"}
    delivery, timestamp = headers["x-mlflow-delivery-id"], headers["x-mlflow-timestamp"]
    program = "import sys; from mlflow.webhooks.delivery import _generate_hmac_signature as s; print(s(*sys.argv[1:]))"
    expected = subprocess.run(
        [str(client_python), "-c", program, "s3", delivery, timestamp, body.decode()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert headers["x-mlflow-signature"] == expected.stdout.strip()


def played(python: Path, server: httpx2.Client, chapters: list[str], folder: Path, **more: str) -> list[str]:
    """The chapters of the story that were told to their end."""
    environment = {
        **os.environ,
        **more,
        "MLFLOW_TRACKING_TOKEN": server.headers["authorization"].removeprefix("Bearer "),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [str(python), str(STORY), str(server.base_url), *chapters]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    said = [line.removeprefix("done ") for line in done.stdout.splitlines() if line.startswith("done ")]
    assert said == chapters, done.stderr[-3000:]
    return said
