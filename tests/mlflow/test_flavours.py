"""Models that MLflow's own client has logged go through gates into deployments, and answer as MLflow would have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import polars as pl
import pytest

from headway.client.client import Client
from headway.client.connect import connect
from headway.errors import Forbidden, NotFound, NotTrusted
from headway.kernel.access import Role
from headway.lifecycle.changes.records import OVER, Change, OpenChange, Stage
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Form
from headway.sdk import adopt_on
from tests.mlflow.environments import python_of

pytestmark = [pytest.mark.mlflow, pytest.mark.slow]
NAMES = ("linear", "process", "trees", "graph", "python", "evil")
PATIENCE_S = 180.0
COMMAND = [sys.executable, "-c", "from headway.cli.main import main; main()", "up", "--port", "0", "--json"]
SCRIPT = Path(__file__).with_name("flavours.py")
CONTRACT = Contract(
    columns=(
        ColumnRule(name="temp", kind=Kind.FLOAT),
        ColumnRule(name="wind", kind=Kind.FLOAT),
        ColumnRule(name="late", kind=Kind.INT, use=Use.LABEL),
    )
)


@dataclass(frozen=True)
class Logged:
    """A server with a registered model in each flavour; `said` is what MLflow predicts with them for `asked`."""

    client: Client
    asked: dict[str, list[float]]
    said: dict[str, list[float]]
    evil_file: Path


def project(python: Path) -> str:
    gate = 'gate = ["parity", { check = "latency", budget_us = 2_000_000, rows = 400 }]'
    sections = [
        '[project]\nname = "flavours"',
        f'[runtimes.mlflow]\npython = "{python}"\ntime_limit_s = 5',
        f"[environments.production]\n{gate}\n[environments.production.rollout]\nsteps = [100]",
    ]
    for name in NAMES:
        sections += [f"[models.{name}]", f'[deployments.{name}]\nenvironment = "production"\nmodel = "{name}"']
        sections[-1] += '\nruntime = "mlflow"'
    return "\n".join(sections)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("flavours")
    python = python_of(".venv-mlflow", "requirements.txt")
    (folder / "headway.toml").write_text(project(python))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWAY_")}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout
        text = ""
        while not text.endswith("}\n"):
            line = server.stdout.readline()
            assert line, (folder / "log").read_text()
            text += line
        url, token = json.loads(text)["url"], (folder / ".headway" / "tokens" / "owner").read_text().strip()
        told = {"MLFLOW_TRACKING_TOKEN": token, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
                "MLFLOW_DISABLE_TELEMETRY": "true"}  # fmt: skip
        done = subprocess.run(
            [str(python), str(SCRIPT), url, str(folder / "evil-ran")], env=environment | told, cwd=folder,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
        with connect(url, token=token) as client:
            client.datasets.add("held-out", held_out(), contract=CONTRACT)
            yield Logged(client, found["asked"], found["said"], folder / "evil-ran")
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()


def held_out() -> pl.DataFrame:
    random = np.random.default_rng(5)
    temp, wind = random.normal(size=(2, 500))
    late = (temp - 0.5 * wind + random.normal(0, 0.5, 500) > 0).astype(np.int64)
    return pl.DataFrame({"temp": temp, "wind": wind, "late": late})


def shipped(logged: Logged, reference: str, deployment: str, **told: str) -> Change:
    """The change that brings a version to a deployment, once it is over."""
    client = logged.client
    version = client.models.version(reference)
    change = client.changes.open(OpenChange(deployment=deployment, model_version=version.id, **told))
    until = time.monotonic() + PATIENCE_S
    while change.stage not in OVER and change.stage is not Stage.ROLLING_OUT:
        assert time.monotonic() < until, change
        time.sleep(0.2)
        change = client.changes.get(change.id)
    return change


def predicted(logged: Logged, deployment: str) -> list[float]:
    """What the deployment answers in MLflow's own protocol; the label of a classifier, as MLflow gives it."""
    until = time.monotonic() + PATIENCE_S
    while True:
        endpoint = None
        with suppress(NotFound):
            endpoint = logged.client.deployments.endpoint(deployment)
        if endpoint and endpoint.ready and endpoint.generation:
            body: dict[str, Any] = {
                "dataframe_split": {
                    "columns": list(logged.asked),
                    "data": [list(row) for row in zip(*logged.asked.values(), strict=True)],
                }
            }
            answer = httpx2.post(f"{endpoint.url}/invocations", json=body, timeout=30)
            if answer.status_code == 200:
                found = answer.json()["predictions"]
                return [each["label"] if isinstance(each, dict) else each for each in found]
            assert answer.status_code == 503, answer.text
        assert time.monotonic() < until, endpoint
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("name", "form", "trusted"),
    [
        ("linear", Form.ONNX, False),  # from skops, converted with parity
        ("process", Form.SKOPS, False),  # converts, but not to what ONNX Runtime knows
        ("graph", Form.ONNX, False),
        ("trees", Form.MLFLOW, True),
        ("python", Form.MLFLOW, True),
    ],
)
def test_from_the_registry_through_the_gate(logged: Logged, name: str, form: Form, trusted: bool) -> None:
    columns = ("temp", "wind") if name == "graph" else ()
    version = adopt_on(logged.client, f"{name}@1", "held-out", columns=columns)
    assert (version.label, version.form) == (f"{name}@1", form)
    assert adopt_on(logged.client, f"{name}@1", "held-out", columns=columns) == version
    if trusted:
        refused = shipped(logged, f"{name}@1", name)
        assert refused.stage is Stage.REJECTED
        assert f"headway model trust {name}@1 --why" in refused.reason
        logged.client.models.trust(f"{name}@1", "trained by ourselves")
    change = shipped(logged, f"{name}@1", name)
    assert change.stage in (Stage.ROLLING_OUT, Stage.SETTLED), change.reason
    assert np.allclose(predicted(logged, name), logged.said[name], rtol=0, atol=1e-12)


def test_a_crafted_pickle_is_never_loaded(logged: Logged) -> None:
    """Neither by logging, registering, adopting, judging, nor by breaking the glass; nobody else can trust it."""
    client = logged.client
    version = adopt_on(client, "evil@1", "held-out")
    assert version.form is Form.MLFLOW
    assert shipped(logged, "evil@1", "evil").stage is Stage.REJECTED
    with pytest.raises(NotTrusted):
        client.models.trusted("evil@1")
    broken = shipped(logged, "evil@1", "evil", break_glass="now")
    assert (broken.stage, "model trust" in broken.reason) == (Stage.REJECTED, True)
    author = client.tokens.create("an author", Role.AUTHOR)
    with connect(client.url, token=author.secret) as other, pytest.raises(Forbidden):
        other.models.trust("evil@1", "let me")
    assert client.deployments.get("evil").traffic == ()
    assert not logged.evil_file.exists()


def test_trust_is_in_the_ledger(logged: Logged) -> None:
    adopted = adopt_on(logged.client, "python@1", "held-out")
    trust = logged.client.models.trust("python@1", "trained by ourselves")
    assert trust.blob == adopted.blob
    assert "trained by ourselves" in [entry.why for entry in logged.client.ledger.list(subject=trust.id)]
    logged.client.ledger.verify()
