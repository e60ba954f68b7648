"""Real clients of other projects, each in an environment of its own, against a real server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.environments import Environment
from tests.serving.processes import Server, request


@pytest.fixture(scope="session")
def triton() -> Environment:
    return Environment("tritonclient[http]==2.73.0")


@pytest.fixture(scope="session")
def kserve() -> Environment:
    return Environment("kserve==0.21.0")


def expected(server: Server) -> list[list[float]]:
    data = server.infer(request([20.0, 70.0], ["AA", "UA"]))[1]["outputs"][1]["data"]
    return [data[:2], data[2:]]


def close(found: list[list[float]], wanted: list[list[float]]) -> bool:
    return all(one == pytest.approx(other, abs=1e-6) for one, other in zip(found, wanted, strict=True))


def test_tritonclient_asks_as_it_does_by_default(server: Server, triton: Environment) -> None:
    said = triton.run("triton_quick.py", f"127.0.0.1:{server.port}")
    assert (said["live"], said["ready"], said["id"], said["label"]) == (True, True, "t-1", [0, 1])
    assert close(said["probabilities"], expected(server))


@pytest.mark.slow
def test_all_of_tritonclient(server: Server, triton: Environment) -> None:
    wanted = expected(server)
    for said in triton.run("triton_whole.py", f"127.0.0.1:{server.port}").values():
        assert [name for name, scores in said["scores"].items() if not close(scores, wanted)] == []
        assert close(said.get("async", wanted), wanted)
        assert {name: status for name, (status, _) in said["refused"].items()} == {
            "model": "404", "version": "404", "missing input": "400", "output": "400", "classes": "400",
            "load": "400", "unload": "400",
        }  # fmt: skip
        assert "rollout" in said["refused"]["load"][1]
        check_pages(said["asked"])


def check_pages(asked: dict[str, Any]) -> None:
    assert all(asked[name] is True for name in ("live", "ready", "model ready", "version ready"))
    assert asked["server"]["name"] == "headway"
    assert asked["metadata"]["versions"] == ["1"]
    assert asked["config"]["input"][1] == {"name": "carrier", "data_type": "TYPE_STRING", "dims": [-1, 1]}
    assert asked["index"] == [{"name": "flights", "version": "1", "state": "READY", "reason": ""}]
    assert asked["statistics"]["model_stats"][0]["inference_stats"]["success"]["count"] > 0
    assert asked["statistics of one"]["model_stats"][0]["name"] == "flights"


@pytest.mark.slow
def test_all_of_the_kserve_client(server: Server, kserve: Environment) -> None:
    said = kserve.run("kserve_whole.py", f"http://127.0.0.1:{server.port}")
    assert [name for name, scores in said["scores"].items() if not close(scores, expected(server))] == []
    assert (said["live"], said["ready"], said["model ready"]) == (True, True, True)
    assert (said["id"], said["status"]) == ("k-1", 404)


@pytest.mark.slow
def test_the_scoring_client_of_mlflow_and_parquet_as_pandas_writes_it(server: Server) -> None:
    environment = Environment(
        "mlflow-skinny==3.17.2", "pandas>=2.2", "pyarrow>=20", "scipy", "requests", "fastapi", "uvicorn"
    )
    said = environment.run("mlflow_scoring.py", f"127.0.0.1:{server.port}")
    assert said.pop("version")
    assert set(said) == {"frame", "array", "csv", "snappy", "zstd", "categories"}
    for name, predictions in said.items():
        assert [each["label"] for each in predictions] == [0, 1], name
        assert close([each["probabilities"] for each in predictions], expected(server)), name
