from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from headway.engines.pipelines.project import load_pipeline
from headway.lifecycle.changes.records import OpenChange
from headway.lifecycle.datasets.contract import Contract
from headway.sdk import open_client, run_on
from tests.journeys.table import orders
from tests.journeys.world import DEPLOYMENT, PROJECT, World, until

KINDS = {"good": 1.0, "better": 0.5, "inverted": 1.0, "leaky": 1.0, "guess": 1.0}
"""Kind of model -> its strength; versions of `lateness` are numbered in this order."""


@dataclass(frozen=True)
class Prepared:
    """A home that is down, with one version of the data and one model version of each kind in it."""

    home: Path
    contract: Contract
    models: dict[str, str]
    """Kind -> id of its model version."""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Made without a server, by the pipeline of the project in this process: training is what takes time."""
    home = tmp_path_factory.mktemp("prepared") / "home"
    pipeline = load_pipeline(PROJECT, "pipeline:train")
    contract: Contract = sys.modules["pipeline"].CONTRACT
    with open_client(home=home) as client:
        client.datasets.add("orders", orders(), contract=contract)
        models = {
            kind: run_on(
                client, pipeline, {"kind": "good" if kind == "better" else kind, "strength": strength}, folder=PROJECT
            )[1]
            for kind, strength in KINDS.items()
        }
    yield Prepared(home, contract, models)
    for name in ("pipeline", "trainers"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def served(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server whose deployment serves the good model; shared by tests that leave it as it is."""
    world = World(tmp_path_factory.mktemp("served"), home=prepared.home)
    try:
        world.start()
        command = OpenChange(deployment=DEPLOYMENT, model_version=prepared.models["good"], break_glass="to begin with")
        world.owner.changes.open(command)
        until(world.ready, "the endpoint is ready")
        yield world
    finally:
        world.close()
