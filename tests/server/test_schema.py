"""What the API's description says, a real server does: requests made from it by Schemathesis, within a fixed budget."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.server.serving import served
from tests.server.world import deliver, open_world

_RUN = "from schemathesis.cli import schemathesis; schemathesis()"
_LEFT_OUT = "positive_data_acceptance"
"""That what fits the schema is accepted: names, digests and references are held to rules that no schema tells."""
_PATHS = {
    "runs": "run", "releases": "release", "rollouts": "rollout", "alerts": "alert", "gates/verdicts": "verdict",
    "gates/evidence": "evidence", "lineage": "model_version",
}  # fmt: skip
_NAMES = {"/v1/deployments/": "name = 'arrivals'", "/v1/monitors/": "name = 'drift'", "/v1/changes/{ref}": "ref = '1'",
          "/v1/models/versions/": "ref = 'late@1'", "/v1/datasets/versions/": "ref = 'flights@1'",
          "/v1/environments/": "name = 'production'", "/v1/webhooks/": "ref = 'chat'"}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Everything has happened once, and `schemathesis.toml` says what it is called."""
    folder = tmp_path / ".headway"
    world = open_world(folder)
    ids = deliver(world)
    world.close()
    told = {f"/v1/{path}/": f"identifier = '{ids[name]}'" for path, name in _PATHS.items()} | _NAMES
    operations = [
        f"[[operations]]\ninclude-path-regex = '^{re.escape(path)}'\nparameters = {{ {value} }}\n"
        for path, value in told.items()
    ]
    (tmp_path / "schemathesis.toml").write_text("\n".join(operations))
    return folder


def asked(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """One run against a server of its own. A token that revoked itself would leave nothing to be seen."""
    with served(home) as client:
        hook = {"name": "chat", "url": "https://hooks.invalid/", "events": ["change.settled"]}
        client.post("/v1/webhooks", json=hook).raise_for_status()
        command = [
            sys.executable, "-W", "ignore", "-c", _RUN, "--config-file", str(home.parent / "schemathesis.toml"), "run",
            f"{str(client.base_url).rstrip('/')}/schema/openapi.json", "--header",
            f"Authorization: {client.headers['authorization']}", "--exclude-operation-id", "tokens_revoke",
            "--exclude-checks", _LEFT_OUT, "--generation-database", "none", "--no-shrink", "--no-color", *options,
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=home.parent, capture_output=True, text=True, timeout=900, check=False, env=_environment()
        )
        _still_serves(client)
        return done


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADWAY_")}


def _still_serves(client: httpx2.Client) -> None:
    assert client.get("/v1/status").is_success
    verified = client.post("/v1/ledger/verify")
    assert verified.is_success, verified.text


def test_every_bound_of_the_schema(home: Path) -> None:
    for seconds in (15, 120):  # on a machine that is busy with other things, none is made within the first
        done = asked(home, "--phases", "coverage", "--max-time", str(seconds), "--seed", "1")
        assert done.returncode == 0, done.stdout[-6000:]
        if re.search(r"Tested: [1-9]", done.stdout):
            break
    unheard = re.search(r"Authentication failed: (\d+)", done.stdout)
    assert unheard is None or int(unheard[1]) <= 3, "an owner may all but judge"
    tested = re.search(r"Tested: (\d+)", done.stdout)
    generated = re.search(r"(\d+) generated", done.stdout)
    assert tested
    assert int(tested[1]) > 0  # the budget is of time: some 2,700 requests on a machine that is not busy otherwise
    assert generated
    assert int(generated[1]) > 10


@pytest.mark.slow
def test_requests_by_chance_and_one_after_the_other(home: Path) -> None:
    # Schemathesis has no way to write Parquet: tests/server/test_malformed.py hands in segments.
    done = asked(
        home, "--phases", "fuzzing,stateful", "--max-time", "120", "--exclude-operation-id", "predictions_ingest"
    )
    assert done.returncode == 0, done.stdout[-6000:]
