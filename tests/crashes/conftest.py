from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from headway.lifecycle.changes.records import OpenChange, Stage
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.schema import Kind
from tests.crashes.clients import Clients
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


def sigmoid() -> bytes:
    """An ONNX model that gives the sigmoid of x."""
    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["x"], ["probabilities"])],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def serving(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is down, whose deployment has settled on a first release."""
    world = World(tmp_path_factory.mktemp("serving"), project=project, deployment=DEPLOYMENT)
    try:
        world.start()
        for name, first in (("learnt", 0), ("held-out", 50)):
            rows = {"x": [(first + row) / 100 for row in range(50)], "y": [row % 2 for row in range(50)]}
            world.owner.datasets.add(name, rows, contract=CONTRACT)
        command = OpenChange(deployment=DEPLOYMENT, pipeline="train", break_glass="to begin with")
        number = world.owner.changes.open(command).number
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


@pytest.fixture
def world(serving: Path, project: Path, tmp_path: Path) -> Iterator[World]:
    """A control plane on a home of its own, in which a first release serves; afterwards nothing may run on."""
    made = World(tmp_path, project=project, deployment=DEPLOYMENT, home=serving)
    try:
        made.start()
        until(made.ready, "the endpoint is ready")
        yield made
        made.stop()
        assert made.processes() == []
    finally:
        made.close()
        for left in made.processes():
            left.kill()
