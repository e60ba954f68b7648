"""Many deployments in one process: each as if it were alone, and models that they share in memory once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headway.kernel.records import encode
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.serving.blob_folder import BlobFolder
from headway.serving.router import Router
from headway.serving.runtimes.memory import OnnxModels
from tests.serving.conftest import MakeTable
from tests.serving.processes import SIGNATURE, Blobs, Server, request


class Many(Server):
    """A server whose tables are in a folder."""

    def __init__(self, folder: Path, blobs: Blobs, *options: str) -> None:
        super().__init__(folder, blobs, *options)
        self._routing = folder / "tables"
        self._routing.mkdir()

    def route(self, table: RoutingTable | bytes) -> None:
        assert isinstance(table, RoutingTable)
        new = self._routing / f"{table.deployment}.new"
        new.write_bytes(encode(table))
        new.rename(self.file(table.deployment))

    def file(self, deployment: str) -> Path:
        return self._routing / f"{deployment}.json"

    def of(self, deployment: str) -> Any:
        return self.status()["deployments"].get(deployment)


@pytest.fixture(params=["1", "2"])
def many(request: pytest.FixtureRequest, tmp_path: Path, blobs: Blobs, table: MakeTable) -> Any:
    server = Many(tmp_path, blobs, "--workers", request.param)
    for name in ("flights", "trains"):
        server.route(table().but(deployment=name))
    server.start()
    server.wait(lambda: len(server.of("flights")["workers"]) == int(request.param))
    yield server
    server.stop()


def test_each_as_if_it_were_alone(many: Many, table: MakeTable, blobs: Blobs) -> None:
    for _ in range(10):
        assert many.infer(request())[0] == 200
    assert many.call("POST", "/v2/models/trains/infer", request())[0] == 200
    body = {"features": {"temp": 70, "carrier": "UA"}}
    assert many.call("POST", "/v1/predict/trains", body)[0] == 200
    assert many.call("POST", "/v1/predict/buses", body)[0] == 404
    flushed = many.flush()["deployments"]
    assert {name: capture["captured"] for name, capture in flushed.items()} == {"flights": 10, "trains": 2}
    segments = {name: list((many.spool / name).glob("*.parquet")) for name in flushed}
    assert {name: sum(pl.read_parquet(each).height for each in paths) for name, paths in segments.items()} == {
        "flights": 10,
        "trains": 2,
    }
    assert many.of("trains")["releases"]["rl_a"]["requests"] == 2
    text = many.call("GET", "/metrics")[1].decode()
    assert 'headway_requests_total{deployment="flights",release="rl_a",status="200"} 10' in text
    assert 'headway_captured_rows_total{deployment="trains"} 2' in text
    families = re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)
    assert len(families) == len(set(families))
    assert len(re.findall(r"^process_resident_memory_bytes \d+$", text, re.MULTILINE)) == 1
    stats = many.call("GET", "/v2/models/stats")[1]["model_stats"]
    assert {each["name"]: each["inference_count"] for each in stats} == {"flights": 10, "trains": 2}
    assert {each["name"] for each in many.call("POST", "/v2/repository/index")[1]} == {"flights", "trains"}
    assert set(many.call("GET", "/v1/openapi.json")[1]["paths"]) == {"/v1/predict/flights", "/v1/predict/trains"}
    assert [many.call("GET", path)[0] for path in ("/v2", "/ping", "/v2/health/ready", "/nix")] == [200, 200, 200, 404]

    broken = table(generation=2).but(deployment="trains", routes=())
    many.route(broken.but(routes=(*table(50).routes[:1],)))
    many.wait(lambda: "sum to 100" in many.of("trains")["error"])
    assert many.of("flights")["error"] == ""
    assert many.call("POST", "/v2/models/trains/infer", request())[0] == 200


def test_invocations_name_their_deployment(many: Many) -> None:
    rows = {"dataframe_records": [{"temp": 70.0, "carrier": "UA"}]}
    status, answer = many.call("POST", "/invocations", rows, {"content-type": "application/json"})
    assert (status, "Headway-Deployment" in answer["error"]) == (400, True)
    headers = {"content-type": "application/json", "headway-deployment": "trains"}
    assert many.call("POST", "/invocations", rows, headers)[0] == 200
    assert many.call("POST", "/invocations", rows, headers | {"headway-deployment": "nix"})[0] == 404
    many.file("trains").unlink()
    many.wait(lambda: all(many.of("trains") is None for _ in range(8)))
    assert many.call("POST", "/invocations", rows, {"content-type": "application/json"})[0] == 200
    assert many.call("POST", "/v2/models/trains/infer", request())[0] == 404


def test_they_come_and_go(many: Many, table: MakeTable) -> None:
    many.route(table().but(deployment="buses"))
    many.wait(lambda: all(many.call("POST", "/v2/models/buses/infer", request())[0] == 200 for _ in range(8)))
    many.flush()
    many.file("buses").unlink()
    many.wait(lambda: all(many.call("POST", "/v2/models/buses/infer", request())[0] == 404 for _ in range(8)))
    assert sum(pl.read_parquet(each).height for each in (many.spool / "buses").glob("*.parquet")) >= 8


def test_a_model_is_loaded_once_and_let_go_with_its_last_table(
    tmp_path: Path, blobs: Blobs, table: MakeTable, models: tuple[str, str]
) -> None:
    files = BlobFolder(blobs.root)
    shared = OnnxModels(files)
    routers = []
    for name in ("flights", "trains"):
        (tmp_path / name).write_bytes(encode(table().but(deployment=name)))
        routers.append(Router(tmp_path / name, files, tmp_path / "workers", shared))
        asyncio.run(routers[-1].refresh())
    first, second = (router.active.routes[0].runtime for router in routers if router.active)
    assert first is second
    assert shared.get(models[0], SIGNATURE) is first
    assert shared.get(models[1], SIGNATURE) is not first
    assert len(shared) == 1
    del first, second
    routers.clear()
    assert len(shared) == 0
