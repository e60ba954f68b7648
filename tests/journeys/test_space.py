"""From files that a run logged to their space being free again, over the command line; all else goes on to verify."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import pytest
from click.testing import CliRunner, Result

from headway.cli.invocation import Invocation
from headway.cli.main import main
from headway.client.client import Client
from headway.kernel.access import Role
from headway.kernel.records import digest
from headway.lifecycle.runs.records import StartRun
from tests.client.conftest import client_of
from tests.server.world import World, open_world, train

Headway = Callable[..., Result]
DAY_S = 86_400.0
BIG = b"weights " * 10_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(tmp_path / ".headway")
    yield opened
    opened.close()


@pytest.fixture
def headway(world: World) -> Headway:
    def run(*arguments: str, role: Role = Role.OPERATOR, fails: int = 0) -> Result:
        done = CliRunner().invoke(main, arguments, obj=Invocation(client_of(world, role)))
        assert done.exit_code == fails, (arguments, done.output)
        return done

    return run


def aged(world: World, days: float) -> None:
    """Let all blobs, discarded or not, have been there for so long."""
    for path in world.application.home.blobs.rglob("*"):
        if path.is_file():
            os.utime(path, (time() - days * DAY_S,) * 2)


def test_log_delete_purge_collect(world: World, headway: Headway) -> None:
    client = client_of(world, Role.AUTHOR)
    ids = train(world.client(Role.AUTHOR))
    runs = [
        client.runs.start_run_of("late") if hasattr(client.runs, "start_run_of") else _started(client) for _ in "ab"
    ]
    client.runs.add_artifact(runs[0], "weights.bin", BIG)
    client.runs.add_artifact(runs[0], "shared.txt", b"shared")
    client.runs.add_artifact(runs[1], "shared.txt", b"shared")
    blobs, big = world.application.blobs, digest(BIG)

    assert f"{big[:15]}  " in headway("gc", "--dry-run").stdout
    refused = headway("run", "purge", runs[0], "--why", "too big", fails=1)
    assert "delete it first" in refused.stderr
    assert "is deleted" in headway("run", "delete", runs[0][-8:], role=Role.AUTHOR).stdout
    assert "is back" in headway("run", "restore", runs[0][-8:], role=Role.AUTHOR).stdout
    headway("run", "delete", runs[0], role=Role.AUTHOR)
    assert "may not operate" in headway("run", "purge", runs[0], "--why", "mine", role=Role.AUTHOR, fails=1).stderr
    assert headway("run", "purge", runs[0], fails=2)
    assert "3 records" in headway("run", "purge", runs[0], "--why", "too big").stdout
    assert "purged by a operator" in headway("run", "delete", runs[0], fails=2).stderr
    assert "too big" in headway("ledger", "show", runs[0]).stdout

    young = json.loads(headway("gc", "--dry-run", "--json").stdout)
    assert [blob["fate"] for blob in young["explained"] if blob["digest"] == big] == ["young"]
    aged(world, 2)
    explained = headway("gc", "--dry-run").stdout
    (line,) = [line for line in explained.splitlines() if line.startswith(big[:15])]
    assert line.split(None, 5)[3] == "discarded"
    assert "no record has it" in line
    assert "is blob of ar_" in explained
    assert "1 blobs (78.1 KiB) discarded" in headway("gc").stdout
    assert "1 blobs (78.1 KiB) discarded before" in headway("gc").stdout
    aged(world, 2)
    assert "78.1 KiB freed" in headway("gc").stdout
    assert not blobs.has(big)
    assert blobs.get(digest(b"shared")) == b"shared"
    assert not Path(world.application.home.blobs / big[3:5] / big[5:]).exists()
    assert "entries hold" in headway("ledger", "verify").stdout
    assert client.models.onnx(ids["model_version"]) == b"an onnx file"
    sweeps = client_of(world, Role.READER).retention.sweeps().items
    assert [sweep.freed_bytes for sweep in sweeps] == [len(BIG), 0]
    assert headway("gc", "--older-than", "soon", fails=2)


def _started(client: Client) -> str:
    return client.runs.start(StartRun(experiment="late")).id


def test_versions_are_refused_while_something_came_from_them(world: World, headway: Headway) -> None:
    ids = train(world.client(Role.AUTHOR))
    refused = headway("dataset", "delete", "flights@1", fails=1)
    assert ids["model_version"] in refused.stderr
    headway("model", "delete", "late@1")
    assert "late@1" not in headway("model", "list").stdout
    headway("model", "purge", "late@1", "--why", "a mistake")
    headway("dataset", "delete", "flights@1")
    headway("dataset", "purge", "flights@1", "--why", "a mistake")
    headway("experiment", "delete", "delays")
    headway("experiment", "purge", "delays", "--why", "a mistake")
    assert "delays" not in headway("experiment", "list").stdout
    assert "entries hold" in headway("ledger", "verify").stdout


def test_a_policy_of_the_project_is_carried_out(world: World, headway: Headway, tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[retention]\ndeleted_days = 0\n[quotas]\nblob_bytes = 100000\npoints_per_run = 5\n'
    (tmp_path / "headway.toml").write_text(text)
    headway("project", "apply", str(tmp_path))
    client = client_of(world, Role.AUTHOR)
    run = _started(client)
    client.runs.add_artifact(run, "weights.bin", BIG)
    assert "78.1 KiB in 1 blobs, of 97.7 KiB" in headway("status").stdout
    over = world.client(Role.AUTHOR).put(f"/v1/blobs/{digest(BIG + BIG)}", content=BIG + BIG)
    assert (over.status_code, over.json()["error"]["code"]) == (413, "quota_exceeded")
    points = {"curves": {"loss": {"steps": list(range(6)), "at_us": list(range(6)), "values": [0.5] * 6}}}
    full = world.client(Role.AUTHOR).post(f"/v1/runs/{run}/points", json=points)
    assert (full.status_code, full.json()["error"]["details"]["quota"]) == (413, "points_per_run")
    client.records.delete(run)
    assert "1 records would be purged by deleted_days" in headway("gc", "--dry-run").stdout
    done = headway("gc", "--older-than", "0s").stdout
    assert "1 records purged by deleted_days" in done
    assert "78.1 KiB freed" in done
    assert client.records.tombstone(run).why == "retention: deleted_days = 0"
    assert "headway_freed_bytes_total 80000" in world.client(Role.READER).get("/metrics").text
    wrong = text.replace("deleted_days = 0", "deleted_days = -1")
    (tmp_path / "headway.toml").write_text(wrong)
    assert "[retention] deleted_days" in headway("project", "apply", str(tmp_path), fails=2).stderr


def test_mlflow_clients_are_told_of_quotas_in_their_words(world: World, headway: Headway, tmp_path: Path) -> None:
    (tmp_path / "headway.toml").write_text('[project]\nname = "x"\n[quotas]\nruns_per_experiment = 1\nblob_bytes = 3\n')
    headway("project", "apply", str(tmp_path))
    author = world.client(Role.AUTHOR)
    runs = [author.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}) for _ in "ab"]
    assert [answer.status_code for answer in runs] == [200, 413]
    assert runs[1].json()["error_code"] == "RESOURCE_EXHAUSTED"
    assert "runs_per_experiment" in runs[1].json()["message"]
    run = runs[0].json()["run"]["info"]["run_id"]
    path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/large.txt"
    large = author.put(path, content=b"large")
    assert (large.status_code, large.json()["error_code"]) == (413, "RESOURCE_EXHAUSTED")
    assert author.put(path, content=b"abc").status_code == 200
