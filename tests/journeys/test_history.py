"""What was captured, made again; and files scored by what is deployed: over a real server, by the command line."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest

from tests.journeys.conftest import Prepared
from tests.journeys.table import orders
from tests.journeys.traffic import Traffic, request
from tests.journeys.world import DEPLOYMENT, World, free_port, until


def said(world: World, *arguments: str) -> tuple[int, Any]:
    """Exit code and what the command prints, as JSON."""
    command = [sys.executable, "-m", "headway.cli", *arguments, "--json"]
    env = world.env | {"HEADWAY_HOME": str(world.home)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    return done.returncode, json.loads(done.stdout or done.stderr.splitlines()[-1])


@pytest.fixture(scope="module")
def asked(served: World) -> pl.DataFrame:
    """Orders of three days that were asked about and whose truth is known."""
    frame = pl.concat([orders(200 + day, 1, a_day=40) for day in range(3)])
    Traffic(served.owner, DEPLOYMENT).play(frame)
    first = frame["order"][0]
    until(lambda: served.owner.predictions.labels([first]), "the labels are joined")
    return frame


def test_a_prediction_is_the_same_bit_for_bit(served: World, asked: pl.DataFrame) -> None:
    code, found = said(served, "replay", asked["order"][5])
    assert code == 0
    assert found["identical"] is True
    assert found["score"] == found["captured"] == found["outputs"]["probabilities"][-1]
    assert found["features"]["weight_kg"] == pytest.approx(asked["weight_kg"][5])


def test_a_request_of_several_rows_is_made_again_row_by_row(served: World, asked: pl.DataFrame) -> None:
    traffic = Traffic(served.owner, DEPLOYMENT)
    body = request(asked.head(3))
    assert body["parameters"].pop("prediction_ids")
    assert traffic.infer({**body, "id": "several"})[0] == 200
    traffic.flush()
    code, error = said(served, "replay", "several")
    assert (code, "such as several-0" in error["error"]["message"]) == (2, True)
    code, found = said(served, "replay", "several-2")
    assert (code, found["identical"]) == (0, True)
    assert found["features"]["weight_kg"] == pytest.approx(asked["weight_kg"][2])


def test_all_of_a_deployment(served: World, asked: pl.DataFrame) -> None:
    code, found = said(served, "replay", "--deployment", DEPLOYMENT)
    assert code == 0
    assert found["rows"] >= asked.height
    assert found["identical"] == found["rows"]
    assert (found["max_difference"], found["loss"], found["days"] >= 3) == (0.0, 0.0, True)
    later = (served.owner.predictions.get(asked["order"][0]).event_at + timedelta(days=1)).date().isoformat()
    parts = [
        said(served, "replay", "--deployment", DEPLOYMENT, side, f"{later}T00:00")[1] for side in ("--from", "--until")
    ]
    assert sum(part["rows"] for part in parts) == found["rows"]
    assert min(part["rows"] for part in parts) >= 40


def test_what_another_release_would_have_said(served: World, prepared: Prepared, asked: pl.DataFrame) -> None:
    [release] = served.owner.releases.list().items
    assert release.model_version == prepared.models["good"]
    code, found = said(served, "replay", "--deployment", DEPLOYMENT, "--release", release.id)
    assert (code, found["identical"]) == (0, found["rows"])


def test_features_beside_those_of_training(served: World, asked: pl.DataFrame) -> None:
    """One row was computed in another way, one is missing there, and a column has another name."""
    first = asked["order"][0]
    other = asked.with_columns(
        weight_kg=pl.when(pl.col("order") == first).then(pl.col("weight_kg") + 2.5).otherwise(pl.col("weight_kg")),
        courier=pl.when(pl.col("order") == first).then(None).otherwise(pl.col("courier")),
    ).rename({"distance_km": "km"})
    served.owner.datasets.add("again", other.head(asked.height - 1))
    command = ("replay", "--deployment", DEPLOYMENT, "--against", "again@1")
    code, found = said(served, *command, "--key", "order")
    assert (code, found["rows"], found["absent"]) == (0, asked.height - 1, ["distance_km"])
    assert found["unmatched"] >= 1
    features = {each["feature"]: each for each in found["features"]}
    assert set(features) == {"weight_kg", "courier"}
    for name, largest in (("weight_kg", 2.5), ("courier", 0.0)):
        feature = features[name]
        assert (feature["rows"], feature["different"], feature["prediction"]) == (asked.height - 1, 1, first)
        assert feature["largest"] == pytest.approx(largest, abs=1e-5)
    assert (features["courier"]["captured"], features["courier"]["dataset"]) == (asked["courier"][0], None)
    for key, says in (("ordre", "order"), ("courier", "twice")):
        code, error = said(served, *command, "--key", key)
        assert (code, says in error["error"]["message"]) == (2, True)
    code, error = said(served, *command)
    assert (code, "--key" in error["error"]["message"]) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("replay",), 2, "name one prediction"),
        (("replay", "nobody"), 2, "captured"),
        (("replay", "--deployment", "nowhere"), 2, "nowhere"),
        (("replay", "--deployment", DEPLOYMENT, "--release", "rl_nix"), 2, "rl_nix"),
        (("batch", "nowhere", __file__, "/nowhere/out.parquet"), 2, "nowhere"),
        (("batch", DEPLOYMENT, __file__, "/nowhere/out.parquet"), 2, "Parquet"),
    ],
)
def test_wrong_turns(served: World, asked: pl.DataFrame, arguments: tuple[str, ...], code: int, says: str) -> None:
    found, error = said(served, *arguments)
    assert found == code
    assert says in error["error"]["message"]


def test_a_file_is_scored(served: World, asked: pl.DataFrame, tmp_path: Path) -> None:
    heavy = asked.with_columns(weight_kg=pl.when(pl.int_range(pl.len()) == 7).then(1e6).otherwise(pl.col("weight_kg")))
    heavy.write_parquet(tmp_path / "in.parquet")
    command = ("batch", DEPLOYMENT, str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), "--part-rows", "50")
    code, found = said(served, *command)
    assert (code, found["rows"], found["refused"], found["resumed"]) == (0, asked.height, 1, 0)
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out.drop("_score", "_release", "_error", "_skewed").equals(heavy)
    assert "weight_kg" in out["_error"][7]
    assert out["_score"][7] is None
    for place in (0, 60, 119):
        assert out["_score"][place] == served.owner.predictions.get(asked["order"][place]).score
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out.parquet"]
    code, error = said(served, *command)
    assert (code, error["error"]["code"]) == (2, "conflict")


@pytest.mark.slow
def test_a_registered_version_is_served_alone_by_several_workers(
    served: World, asked: pl.DataFrame, tmp_path: Path
) -> None:
    """`headway serve --model NAME@VERSION`: what the deployment's release said, over HTTP from whichever worker, and
    over gRPC."""
    port, grpc_port = free_port(), free_port()
    command = [
        sys.executable, "-m", "headway.cli", "serve", "--model", "lateness@1", "--name", "alone", "--port", str(port),
        "--workers", "2", "--grpc-port", str(grpc_port),
    ]  # fmt: skip
    env = served.env | {"HEADWAY_HOME": str(served.home), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: workers_of(port) == 2, "both workers are there")
        row = asked.head(1)
        wanted = served.owner.predictions.get(row["order"][0]).score
        for _ in range(6):
            status, answer = call(port, "/v2/models/alone/infer", request(row))
            assert (status, answer["outputs"][-1]["data"][-1]) == (200, pytest.approx(wanted))
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            said = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")(b"\n\x05alone", timeout=20)
        assert said == b"\x08\x01"
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_name_alone_serves_its_newest_version(served: World, asked: pl.DataFrame, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "headway.cli", "serve", "--model", "lateness", "--port", str(port)]
    env = served.env | {"HEADWAY_HOME": str(served.home), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: workers_of(port) == 1, "it is there")
        features = asked.select("distance_km", "weight_kg", "courier").row(0, named=True)
        status, answer = call(port, "/v1/predict/model", {"features": features})
        newest = max(version.number for version in served.owner.models.versions("lateness").items)
        assert (status, answer["version"]) == (200, newest)
    finally:
        process.terminate()
        assert process.wait(30) == 0


def workers_of(port: int) -> int:
    try:
        return len(call(port, "/v1/status", None)[1]["workers"])
    except (OSError, http.client.HTTPException):
        return 0


def call(port: int, path: str, body: Any) -> tuple[int, Any]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()
