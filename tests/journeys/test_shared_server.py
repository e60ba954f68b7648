"""Two deployments that share a model server, as a project says: both answer, are captured, and outlive a crash."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headway.cli.main import main
from headway.client.home import running_server
from headway.kernel.access import Role
from headway.lifecycle.changes.records import OpenChange
from headway.lifecycle.rollouts.target import Endpoint
from tests.journeys.conftest import Prepared
from tests.journeys.table import orders
from tests.journeys.traffic import Traffic
from tests.journeys.world import PROJECT, World, until

NAMES = ("lateness", "returns")
SHARED = """[deployments.lateness]
environment = "production"
model = "lateness"
server = "small"

[deployments.returns]
environment = "production"
model = "lateness"
server = "small"
"""


@pytest.fixture
def world(prepared: Prepared, tmp_path: Path) -> Iterator[World]:
    project = tmp_path / "told" / "orders"
    project.mkdir(parents=True)
    for file in PROJECT.glob("*.*"):
        text = file.read_text()
        if file.name == "headway.toml":
            before, _, rest = text.partition("[deployments.lateness]\n")
            text = before + SHARED + rest.partition('model = "lateness"\n')[2]
        (project / file.name).write_text(text)
    made = World(tmp_path, project=project, home=prepared.home)
    try:
        yield made.start()
    finally:
        made.close()


def test_deployments_of_a_project_share_a_server(world: World, prepared: Prepared) -> None:
    client = world.owner
    for name in NAMES:
        version = prepared.models["good" if name == "lateness" else "better"]
        client.changes.open(OpenChange(deployment=name, model_version=version, break_glass="to begin with"))
    first, second = (until(lambda name=name: ready(world, name), f"{name} is ready") for name in NAMES)
    assert (first.url, first.server) == (second.url, "small")
    assert running_server(world.home) == world.url

    counted = {name: play(world, name, day) for day, name in enumerate(NAMES, 60)}
    note = world.home / "servers" / "small" / "process.json"
    killed = json.loads(note.read_bytes())["pid"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: json.loads(note.read_bytes())["pid"] != killed, "another server is started")
    for name in NAMES:
        until(lambda name=name: ready(world, name), f"{name} is back")
        counted[name] += play(world, name, 70 + NAMES.index(name))
    for name in NAMES:
        until(lambda name=name: rows(world, name) == counted[name], f"all of {name} is captured")

    env = {"HEADWAY_URL": world.url, "HEADWAY_TOKEN": world.token("a reader", Role.READER)}
    shown = CliRunner().invoke(main, ["status"], env=env)
    assert shown.stdout.count(f"{first.url} (server small)") == 2
    status: dict[str, Any] = json.loads(CliRunner().invoke(main, ["status", "--json"], env=env).stdout)
    assert {each["deployment"]["name"]: each["endpoint"]["server"] for each in status["deployments"]} == {
        "lateness": "small",
        "returns": "small",
    }


def ready(world: World, name: str) -> Endpoint | None:
    found = next(each for each in world.owner.status().deployments if each.deployment.name == name)
    return found.endpoint if found.endpoint and found.endpoint.ready else None


def play(world: World, name: str, day: int) -> int:
    traffic = Traffic(world.owner, name)
    traffic.play(orders(day, 1))
    assert traffic.failures == []
    return traffic.rows


def rows(world: World, name: str) -> int:
    segments = world.owner.predictions.segments(name).items
    return sum(each.rows for each in segments)
