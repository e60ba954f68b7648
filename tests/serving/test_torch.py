"""PyTorch's networks for real: logged where PyTorch is, made ONNX or kept as `torch.export` saves them, and served in
workers of an interpreter that has it; slow, since that is built first."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headway.engines.models.scoring import OnnxModel
from headway.errors import NotTrusted
from headway.lifecycle.models.records import Form, ModelVersion, PythonRuntime
from headway.lifecycle.rollouts.routing import Route
from headway.serving.offline.replay import replay_all
from tests.serving.delivered import OWNER, Delivered, delivered
from tests.serving.environments import Environment
from tests.serving.processes import Server
from tests.serving.test_classes import CONTRACT, trips
from tests.serving.test_workers import raw, worker_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment("torch==2.13.0", "onnxscript==0.7.2", "safetensors==0.8.0", "numpy==2.4.6")


FEATURES, HANGS_AT = ["far", "fare"], 7001.0
"""As `clients/torch_models.py` has them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For what the networks were saved as, and answered."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def world(environment: Environment, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    with delivered(tmp_path_factory.mktemp("torch")) as opened:
        for name, seed in (("trips", 1), ("later", 2)):
            opened.client.datasets.add(name, trips(seed), contract=CONTRACT)
        home = str(opened.application.home.folder)
        assert environment.run("torch_models.py", home, str(folder), timeout_s=300, beside=True) == "made"
        yield opened


@pytest.fixture(scope="module")
def runtime(environment: Environment) -> PythonRuntime:
    return PythonRuntime(python=environment.python, time_limit_s=3.0)


@pytest.fixture(scope="module")
def odd(world: Delivered) -> ModelVersion:
    return world.client.models.version("odd@1")


def test_a_network_becomes_onnx_and_answers_as_it_does(world: Delivered, folder: Path) -> None:
    version = world.client.models.version("net@1")
    assert (version.form, version.parity and version.parity.proven) == (Form.ONNX, True)
    assert {variant.name for variant in version.variants if variant.single_us} >= {"single", "one tensor"}
    rows = pl.DataFrame(np.load(folder / "rows.npy"), schema=FEATURES)
    scores = OnnxModel(world.client.blobs.get(version.blob)).score(rows)
    assert scores == pytest.approx(np.load(folder / "net.npy")[:, 0], abs=1e-5)


def test_what_onnx_cannot_say_is_kept_as_torch_exports_it(odd: ModelVersion) -> None:
    assert (odd.form, odd.parity and odd.parity.proven) == (Form.TORCH, True)
    assert "served by torch: PyTorch does not bring Odd into ONNX" in odd.note
    assert [spec.name for spec in odd.signature.inputs] == FEATURES


def asked(rows: Any) -> dict[str, Any]:
    columns = [
        {"name": name, "shape": [len(rows), 1], "datatype": "FP32", "data": rows[:, at].tolist()}
        for at, name in enumerate(FEATURES)
    ]
    return {"inputs": columns}


def answer(server: Server, path: str, rows: Any) -> Any:
    status, body = server.call("POST", path, asked(rows))
    assert status == 200, body
    return np.array(body["outputs"][0]["data"], dtype=np.float32).reshape(body["outputs"][0]["shape"])


def test_a_file_of_its_own_is_served_once_it_is_trusted(
    world: Delivered, folder: Path, runtime: PythonRuntime
) -> None:  # fmt: skip
    told: dict[str, Any] = {"training": ["trips"], "evaluation": "later", "task": "regression"}
    with world.run() as run:
        version = run.log_model("file", folder / "net.pt2", **told)
    assert (version.form, version.as_logged) == (Form.TORCH, True)
    world.declare("file", "file", python=runtime)
    with pytest.raises(NotTrusted, match="may hold any code"):
        world.ship(version, "file")
    world.platform.models.trust(version.id, "it was exported here", by=OWNER)
    world.ship(version, "file")
    server, rows = world.serve("file"), np.load(folder / "rows.npy")[:50]
    expected = np.load(folder / "net.npy")[:50]
    assert answer(server, "/v2/models/file/infer", rows) == pytest.approx(expected, abs=1e-6)
    assert server.call("GET", "/v2/models/file")[1]["platform"] == "pytorch_export"


@pytest.fixture(scope="module")
def both(world: Delivered, odd: ModelVersion, runtime: PythonRuntime) -> Server:
    """The network in ONNX as version 1, and the one in its worker as version 2."""
    world.platform.models.trust(odd.id, "it was made here", by=OWNER)
    routes: list[Route] = []
    for name, model in (("flights", "odd"), ("plain", "net")):
        world.declare(name, model, python=runtime)
        world.ship(world.client.models.version(model), name)
        routes += world.platform.deployments.routing(name).routes
    worker, onnx = routes
    shared = (onnx.but(percent=50, version=1), worker.but(percent=50, version=2))
    return world.serve("flights", table=world.platform.deployments.routing("flights").but(routes=shared))


INFER = "/v2/models/flights/versions/{}/infer"


def test_it_answers_in_its_worker_as_it_does_where_it_was_trained(both: Server, folder: Path) -> None:
    rows = np.load(folder / "rows.npy")[:200]
    for version, name in ((1, "net"), (2, "odd")):
        assert answer(both, INFER.format(version), rows) == pytest.approx(
            np.load(folder / f"{name}.npy")[:200], abs=1e-5
        )


@pytest.mark.parametrize("how", ["hangs", "is killed"])
def test_a_worker_that_hangs_or_ends_costs_its_own_requests(both: Server, folder: Path, how: str) -> None:
    row = np.array([[HANGS_AT, 0]])
    worker = worker_of(both)
    spent_s = worker.cpu_times().user
    with ThreadPoolExecutor(1) as pool:
        bad = pool.submit(raw, both, asked(row))
        both.wait(lambda: worker.cpu_times().user > spent_s)  # it has begun
        if how == "is killed":
            worker.kill()
        while not bad.done():
            assert answered(both, folder)
        status, headers, text = bad.result()
    assert status == 503, text
    assert int(headers["retry-after"]) >= 1
    both.wait(lambda: both.call("POST", INFER.format(2), asked(row * 0))[0] == 200, timeout_s=60)
    assert worker_of(both).pid != worker.pid


def answered(server: Server, folder: Path) -> bool:
    """Whether the model beside it does."""
    rows = np.load(folder / "rows.npy")[:1]
    return answer(server, INFER.format(1), rows) == pytest.approx(np.load(folder / "net.npy")[:1], abs=1e-5)


@pytest.mark.usefixtures("both")
def test_it_is_replayed_bit_for_bit(world: Delivered, folder: Path) -> None:
    server = world.serve("flights")
    rows = np.load(folder / "rows.npy")[:5]
    for place, row in enumerate(rows):
        features = dict(zip(FEATURES, row.tolist(), strict=True))
        body = {"features": features, "id": f"t-{place}"}
        assert server.call("POST", "/v1/predict/flights", body)[0] == 200
    world.bring_back(server, "flights")
    again = replay_all(world.client, "flights")
    assert (again.rows, again.identical, again.unsteady) == (5, 5, 0)
