"""A home in which everything has happened once, and clients of it for each role."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import polars as pl

from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.records import digest, encode
from headway.lifecycle.changes.records import Change
from headway.lifecycle.changes.rules import Reach, Sign, StartRollout, next_action
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.models.records import ModelFile, ModelFolder, Register
from headway.lifecycle.monitors.records import Watches
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.lifecycle.rollouts.target import Endpoint
from headway.server.app import Application, compose
from headway.server.local import LocalTransport
from headway.server.settings import Settings

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENSOR = {"name": "delay", "datatype": "FP32", "shape": [-1, 1]}
SIGNATURE = {"inputs": [TENSOR], "outputs": [{**TENSOR, "name": "score"}], "score": "score"}


class RunningTarget:
    """A target on which everything that was ever applied runs."""

    def __init__(self) -> None:
        self.tables: dict[str, RoutingTable] = {}

    def apply(self, table: RoutingTable) -> None:
        self.tables[table.deployment] = table

    def observe(self, deployment: str) -> Endpoint | None:
        table = self.tables.get(deployment)
        if table is None:
            return None
        return Endpoint(deployment=deployment, url="http://127.0.0.1:1", generation=table.generation, ready=True)

    def close(self) -> None:
        self.tables.clear()


@dataclass
class World:
    application: Application
    transport: LocalTransport
    target: RunningTarget
    secrets: dict[Role, str]

    def client(self, role: Role | None) -> httpx2.Client:
        headers = {"authorization": f"Bearer {self.secrets[role]}"} if role else {}
        return httpx2.Client(transport=Unclosed(self.transport), base_url="http://localhost", headers=headers)

    def close(self) -> None:
        self.transport.close()


class Unclosed(httpx2.BaseTransport):
    """Leaves the transport open for the next client."""

    def __init__(self, transport: httpx2.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._transport.handle_request(request)


def open_world(home: Path, **limits: Any) -> World:
    target = RunningTarget()
    application = replace(compose(Settings(home=home, **limits)), target=target)
    secrets = {role: application.platform.access.grant(f"a {role}", role, by=SYSTEM)[1] for role in Role}
    return World(application, LocalTransport(application), target, secrets)


def put_blob(client: httpx2.Client, data: bytes) -> str:
    client.put(f"/v1/blobs/{digest(data)}", content=data).raise_for_status()
    return digest(data)


def posted(client: httpx2.Client, path: str, body: Any) -> Any:
    answer = client.post(path, content=encode(body))
    assert answer.is_success, answer.text
    return answer.json()


def table(first: int) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(
        {"delay": [float(first + row) for row in range(50)], "late": [row % 2 for row in range(50)]}
    ).write_parquet(buffer)
    return buffer.getvalue()


def segment(release: str, rows: int = 3) -> bytes:
    buffer = io.BytesIO()
    frame = {
        "delay": [1.0] * rows,
        "_prediction": [f"p/{row}" for row in range(rows)],
        "_release": [release] * rows,
        "_event_at": [DAY] * rows,
        "_status": [200] * rows,
        "_latency_us": [900.0] * rows,
        "_score": [0.25] * rows,
    }
    pl.DataFrame(frame).write_parquet(buffer)
    return buffer.getvalue()


def train(author: httpx2.Client) -> dict[str, str]:
    """Datasets, a run and the model version it registered: ids by what they are of."""
    versions = [
        posted(author, "/v1/datasets/versions", {"dataset": name, "blob": put_blob(author, table(first))})["id"]
        for name, first in (("flights", 0), ("held-out", 100))
    ]
    run = posted(author, "/v1/runs", {"experiment": "delays", "pipeline": "train"})["id"]
    body = {
        "model": "late",
        "blob": put_blob(author, b"an onnx file"),
        "signature": SIGNATURE,
        "task": "binary",
        "run": run,
        "training": [versions[0]],
        "evaluation": versions[1],
    }
    model = posted(author, "/v1/models/versions", body)["id"]
    return {"dataset_version": versions[0], "run": run, "model_version": model}


def register(world: World, run: str) -> str:
    """Register a model `crafted` of two files, as a client of MLflow does; gives the blob that lists them."""
    author, platform, by = world.client(Role.AUTHOR), world.application.platform, Actor(name="mia", role=Role.AUTHOR)
    files = []
    for name, data in (("MLmodel", b"flavors: {}"), ("model.pkl", b"whatever")):
        blob = put_blob(author, data)
        platform.artifacts.put(run, f"model/{name}", blob, len(data), by=by)
        files.append(ModelFile(name=name, blob=blob, size=len(data)))
    platform.registry.create("crafted", by=by)
    platform.registry.register(
        Register(model="crafted", source=f"mlflow-artifacts:/1/{run}/artifacts/model", run=run), by=by
    )
    return put_blob(author, encode(ModelFolder(files=tuple(files))))


def registered_version(blob: str, like: dict[str, Any]) -> dict[str, Any]:
    more = {"form": "mlflow", "registration": "crafted@1", "training": [], "evaluation": "held-out"}
    return {**like, "model": "crafted", "blob": blob, **more}


def declare(world: World) -> None:
    platform = world.application.platform
    gate = (CheckSpec(check="accuracy"),)
    platform.environments.declare("production", by=SYSTEM, gate=gate, approvals=1)
    platform.deployments.declare("arrivals", "production", "late", by=SYSTEM)
    platform.monitors.declare("drift", "arrivals", Watches.DRIFT, {}, by=SYSTEM)


def drive(world: World, reference: str) -> Change:
    """Carry a change on for as long as nobody else is needed."""
    changes = world.application.platform.changes
    while True:
        change = changes.find(reference)
        action = next_action(change, changes.facts(change))
        if isinstance(action, Reach):
            changes.reach(change, action, fence=None)
        elif isinstance(action, Sign):
            authors = changes.authors(change)
            world.application.platform.releases.sign(
                change.id, change.model_version, change.environment, authors=authors, by=SYSTEM
            )
        elif isinstance(action, StartRollout):
            rollouts = world.application.platform.rollouts
            rollouts.start(change.deployment, change.release, by=SYSTEM, change=change.id)
        else:
            return change


def judge(world: World, change: Change, outcome: Outcome = Outcome.PASS) -> str:
    body = {
        "environment": change.environment,
        "model_version": change.model_version,
        "change": change.id,
        "findings": {"accuracy": {"outcome": outcome, "reason": "0.9 of 50 rows"}},
    }
    verdict: str = posted(world.client(Role.GATEKEEPER), "/v1/gates/verdicts", body)["id"]
    return verdict


def deliver(world: World) -> dict[str, str]:
    """One change from training to captured, labelled predictions and an alert: ids by what they are of."""
    declare(world)
    author, platform = world.client(Role.AUTHOR), world.application.platform
    ids = train(author)
    opened = posted(author, "/v1/changes", {"deployment": "arrivals", "model_version": ids["model_version"]})
    verdict = judge(world, drive(world, opened["id"]))
    drive(world, opened["id"])
    approval = posted(world.client(Role.APPROVER), f"/v1/changes/{opened['number']}/approve", {"reason": "good"})
    change = drive(world, opened["id"])
    platform.rollouts.advance(change.rollout, 0, "first step", by=SYSTEM)
    world.target.apply(platform.deployments.routing("arrivals"))
    data = segment(change.release)
    worker = world.client(Role.WORKER)
    worker.put(f"/v1/deployments/arrivals/segments/{digest(data)}", content=data).raise_for_status()
    posted(worker, "/v1/labels", {"labels": [{"prediction": "p/0", "value": 1.0}, {"prediction": "p/1", "value": 0.0}]})
    platform.monitors.record(
        platform.monitors.get("drift"), change.release, "2026-03-01",
        rows=3, outcome=Outcome.FAIL, statistic=30.0, limit=20.0, reason="delay moved", numbers={}, by=SYSTEM,
    )  # fmt: skip
    evidence = platform.gates.verdict(verdict).evidence[0]
    found = {"change": change.id, "verdict": verdict, "approval": approval["id"], "evidence": evidence}
    alert = platform.monitors.unresolved()[0].id
    return ids | found | {"release": change.release, "rollout": change.rollout, "alert": alert}
