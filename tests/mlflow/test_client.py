"""MLflow's own client, unmodified and in an environment of its own, against a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import httpx2
import pytest

from tests.engines.receivers import receiving
from tests.mlflow.environments import HERE, ROOT, python_of
from tests.server.serving import served, up

pytestmark = pytest.mark.mlflow


@pytest.fixture(scope="session")
def client_python() -> Path:
    return python_of(".venv-mlflow", "requirements.txt")


@pytest.fixture(scope="session")
def whole_python() -> Path:
    return python_of(".venv-mlflow-full", "requirements-full.txt")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with served(tmp_path_factory.mktemp("served") / ".headway") as client:
        yield client


def told(python: Path, server: httpx2.Client, story: str, chapters: list[str], folder: Path, **more: str) -> str:
    """What the chapters of a story print, which must all come to their end."""
    environment = {
        **os.environ,
        **more,
        "MLFLOW_TRACKING_TOKEN": server.headers["authorization"].removeprefix("Bearer "),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MPLBACKEND": "Agg",
    }
    command = [str(python), str(HERE / story), str(server.base_url), *chapters]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    said = [line.removeprefix("done ") for line in done.stdout.splitlines() if line.startswith("done ")]
    assert said == chapters, done.stderr[-3000:]
    assert server.get("/v1/status").is_success
    return done.stdout


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
    told(client_python, server, story, chapters, tmp_path)
    if "large_files" in chapters:
        counted = server.get("/metrics").text
        for route in ('"PUT",route="/api/mlflow-artifacts/mpu/part"', "/mpu/complete", "presigned/{path}"):
            assert route in counted
        assert 'status="206"' in counted


def test_the_client_makes_webhooks_that_are_told(client_python: Path, tmp_path: Path) -> None:
    with receiving() as receiver, up(tmp_path / ".headway", "--webhook-host", receiver.listing) as server:
        url = {"RECEIVER": receiver.url}
        told(client_python, server.client, "story.py", ["webhooks"], tmp_path, **url)
        receiver.until(2)
    (_, _, example), (_, headers, body), *_ = receiver.got  # at least once: a busy machine may be told again
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


@pytest.mark.slow
def test_every_method_works_or_is_listed(client_python: Path, server: httpx2.Client, tmp_path: Path) -> None:
    printed = told(client_python, server, "story_of_methods.py", ["methods"], tmp_path)
    said = json.loads(next(line for line in printed.splitlines() if line.startswith('{"worked"')))
    page = (ROOT / "docs" / "mlflow.md").read_text()
    section = page.partition("## Methods of the client")[2].partition("\n## ")[0]
    patterns = re.findall(r"`([^`]+)`", section.partition("|---|---|")[2])
    listed = {name for name in said["others"] + said["worked"] if any(fnmatchcase(name, each) for each in patterns)}
    elsewhere = {"log_figure"}
    assert listed == set(said["others"]) - elsewhere
    assert f"{len(said['worked']) + len(elsewhere)} of {len(said['worked'] + said['others'])}" in section


@pytest.mark.slow
@pytest.mark.parametrize(
    "chapters",
    [
        ["boosted_by_lightgbm", "boosted_by_xgboost", "pytorch", "evaluation"],
        ["nested", "what_can_be_logged", "prompts", "accounts"],
    ],
    ids=["training", "logging"],
)
def test_the_whole_of_mlflow_works_as_it_is(
    whole_python: Path, server: httpx2.Client, chapters: list[str], tmp_path: Path
) -> None:
    told(whole_python, server, "story_of_breadth.py", chapters, tmp_path)
