from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.lifecycle.changes.records import Stage
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.schema import Kind
from tests.crashes.agreement import workers
from tests.crashes.clients import Clients
from tests.crashes.model import sigmoid
from tests.journeys.world import World, until

ONES = Path(__file__).parent / "ones"
DEPLOYMENT = "ones"
CONTRACT = Contract(
    columns=(
        ColumnRule(name="x", kind=Kind.FLOAT, low=-100, high=100),
        ColumnRule(name="y", kind=Kind.INT, use=Use.LABEL, low=0, high=1),
    )
)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project `ones`, with the file of its model."""
    folder = tmp_path_factory.mktemp("ones") / "project"
    shutil.copytree(ONES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "model.onnx").write_bytes(sigmoid())
    return folder


@pytest.fixture(scope="session")
def serving(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is down, whose deployment has settled on a first release."""
    world = World(tmp_path_factory.mktemp("serving"), project=project, deployment=DEPLOYMENT)
    try:
        world.start()
        for name, first in (("learnt", 0), ("held-out", 50)):
            rows = {"x": [(first + row) / 100 for row in range(50)], "y": [row % 2 for row in range(50)]}
            world.owner.datasets.add(name, rows, contract=CONTRACT)
        number = world.open(client=world.owner, name="first", break_glass="to begin with")
        world.reached(number, Stage.ROLLING_OUT)
        until(world.ready, "the endpoint is ready")
        with Clients(world) as clients:
            until(lambda: world.change(number).over, "the first release settles")
        assert clients.failures == []
        assert world.stop() == 0
    finally:
        world.close()
    shutil.rmtree(world.home / "deployments")
    return world.home


@pytest.fixture(scope="module")
def shared(serving: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A control plane on a home of its own, in which a first release serves; afterwards nothing may run on."""
    made = World(tmp_path_factory.mktemp("world"), project=project, deployment=DEPLOYMENT, home=serving)
    try:
        made.start()
        yield made
        assert made.stop() == 0
        assert made.processes() == {}
    finally:
        made.close()
        for left in made.processes():
            os.kill(left, signal.SIGKILL)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """The module's control plane, with an endpoint that answers and nothing else under way."""
    if not shared.up_and_running:
        shared.start()
    until(shared.ready, "the endpoint is ready")
    yield shared
    if not shared.up_and_running:
        shared.start()
    for file in shared.project.glob("hold-*"):
        file.unlink()
    for change in shared.owner.changes.list().items:
        if not change.over:
            shared.owner.changes.cancel(str(change.number), "the test is over")
    until(lambda: not workers(shared), "no worker runs", 5)
