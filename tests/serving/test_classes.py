"""A model of several classes from training to realised quality: label and probabilities in every language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from headway.cli.main import main
from headway.engines.tables.windows import day_profiles
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import ModelVersion, Task
from headway.lifecycle.monitors.classes import LABEL, class_layout
from headway.lifecycle.rollouts.fallbacks import Fallback
from headway.serving.offline.batch import score_file
from headway.serving.offline.releases import Releases
from headway.serving.offline.replay import replay_all, replay_one
from tests.serving.delivered import Delivered, delivered
from tests.serving.processes import Server

CLASSES = ("bus", "car", "train")
CONTRACT = Contract(
    columns=(
        ColumnRule(name="far", kind=Kind.FLOAT), ColumnRule(name="fare", kind=Kind.FLOAT),
        ColumnRule(name="way", kind=Kind.STR, use=Use.LABEL),
    )
)  # fmt: skip


def trips(seed: int, rows: int = 600) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    far, fare = random.normal(size=rows).astype(np.float32), random.normal(size=rows).astype(np.float32)
    pull = np.stack([-far, fare, far - fare], axis=1) * 2 + random.gumbel(size=(rows, 3))
    return pl.DataFrame({"far": far, "fare": fare, "way": np.array(CLASSES)[pull.argmax(axis=1)]})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    with delivered(tmp_path_factory.mktemp("classes")) as opened:
        for name, seed in (("trips", 1), ("later", 2)):
            opened.client.datasets.add(name, trips(seed), contract=CONTRACT)
        yield opened


def fit(seed: int = 1) -> Any:
    rows = trips(seed)
    return LogisticRegression().fit(rows.select("far", "fare"), rows["way"].to_numpy())


@pytest.fixture(scope="module")
def version(world: Delivered) -> ModelVersion:
    with world.run() as run:
        return run.log_model(
            "ways", fit(), training=["trips"], evaluation="later",
            baselines={"constant": LogisticRegression(C=1e-9).fit(trips(1).select("far", "fare"), trips(1)["way"])},
        )  # fmt: skip


@pytest.fixture(scope="module")
def server(world: Delivered, version: ModelVersion) -> Server:
    world.declare("trips", "ways")
    world.ship(version, "trips")
    return world.serve("trips")


def test_the_version_names_its_classes(version: ModelVersion) -> None:
    assert (version.task, version.signature.classes) == (Task.MULTICLASS, CLASSES)
    assert [(spec.name, spec.shape) for spec in version.signature.outputs] == [
        ("label", (-1,)), ("probabilities", (-1, 3)),
    ]  # fmt: skip
    assert version.parity is not None
    assert version.parity.proven
    assert version.parity.labels_apart == 0


def test_a_task_that_does_not_fit_is_refused(world: Delivered) -> None:
    with world.run() as run, pytest.raises(Invalid, match="binary does not fit a model of bus, car, train"):
        run.log_model("odd", fit(), training=["trips"], evaluation="later", task="binary")


def test_the_open_inference_protocol(server: Server) -> None:
    tensors = [{"name": name, "datatype": "FP32", "shape": [2, 1], "data": [3.0, -3.0]} for name in ("far", "fare")]
    status, answer = server.call("POST", "/v2/models/trips/infer", {"inputs": tensors})
    label, probabilities = answer["outputs"]
    assert status == 200
    assert (label["datatype"], probabilities["shape"]) == ("BYTES", [2, 3])
    chances = np.array(probabilities["data"]).reshape(2, 3)
    assert chances.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert label["data"] == [CLASSES[place] for place in chances.argmax(axis=1)]


def test_a_prediction_for_people(server: Server) -> None:
    status, answer = server.call("POST", "/v1/predict/trips", {"features": {"far": 3, "fare": -1}})
    expected = fit().predict_proba(pl.DataFrame({"far": [3.0], "fare": [-1.0]}))[0]
    assert (status, answer["label"]) == (200, CLASSES[int(expected.argmax())])
    assert answer["score"] == pytest.approx(expected.max(), abs=1e-5)
    assert answer["probabilities"] == pytest.approx(dict(zip(CLASSES, expected, strict=True)), abs=1e-5)
    described = server.call("GET", "/v1/openapi.json")[1]["paths"]["/v1/predict/trips"]["post"]["responses"]["200"]
    properties = described["content"]["application/json"]["schema"]["properties"]
    assert properties["label"] == {"type": "string", "enum": list(CLASSES)}
    assert properties["probabilities"]["required"] == list(CLASSES)


def test_mlflow_scoring(server: Server) -> None:
    answer = server.call(
        "POST", "/invocations", {"dataframe_records": [{"far": 3, "fare": -1}]}, {"content-type": "application/json"}
    )[1]
    [row] = answer["predictions"]
    assert row["label"] in CLASSES
    assert len(row["probabilities"]) == 3


def test_quality_replay_and_unknown_classes(world: Delivered, server: Server, version: ModelVersion) -> None:
    rows = trips(3, 40)
    for place, (far, fare) in enumerate(rows.select("far", "fare").iter_rows()):
        body = {"features": {"far": far, "fare": fare}, "id": f"w-{place}"}
        assert server.call("POST", "/v1/predict/trips", body)[0] == 200
    captured = world.bring_back(server, "trips").filter(pl.col("_prediction").str.starts_with("w-"))
    assert captured["_label"].is_in(CLASSES).all()
    files = [file.read_bytes() for file in server.spool.glob("*.parquet")]
    day = f"{captured['_event_at'][0]:%Y-%m-%d}"
    counted = day_profiles(files, day, class_layout(CLASSES)).columns[LABEL]
    assert counted.nulls == 0
    assert sum(counted.counts) == counted.n == server.rows()["_prediction"].n_unique()
    told = world.client.predictions.label({"w-39": "ferry", **{f"w-{at}": rows["way"][at] for at in range(39)}})
    assert (told.joined, told.strange) == (40, ("w-39",))
    chances = fit().predict_proba(rows.select("far", "fare"))
    truth = np.stack([rows["way"].to_numpy() == name for name in CLASSES], axis=1).astype(float)
    truth[39] = 0
    expected = np.square(chances - truth).sum(axis=1)
    expected[39] = np.square(chances[39]).sum() + 1
    [quality] = world.client.deployments.quality("trips")
    assert quality.loss == pytest.approx(expected.sum(), rel=1e-4)
    one = world.client.predictions.get("w-0")
    assert one.label == rows["way"][0]
    assert one.score == pytest.approx(max(one.probabilities))
    again = replay_one(world.client, "w-0")
    assert (again.identical, again.label) == (True, again.captured_label)
    other = replay_all(world.client, "trips")
    assert (other.identical, other.labelled, other.loss) == (other.rows, 40, 0.0)


def test_batch_gives_label_and_probabilities(world: Delivered, server: Server, tmp_path: Any) -> None:
    trips(4, 20).write_parquet(tmp_path / "in.parquet")
    release = world.client.deployments.get("trips").serving or ""
    with Releases(world.client) as releases:
        score_file(releases.get(release), tmp_path / "in.parquet", tmp_path / "out.parquet")
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out["_label"].to_list() == fit().predict(trips(4, 20).select("far", "fare")).tolist()
    assert out["_probabilities"].list.len().to_list() == [3] * 20


def test_a_rival_of_other_classes_is_compared_by_loss(world: Delivered, version: ModelVersion) -> None:
    """The classes of either stand in an order of its own: labels are found by name."""
    rows = trips(1).filter(pl.col("way") != "bus").with_columns(
        pl.when(pl.col("way") == "car").then(pl.lit("zeppelin")).otherwise("way").alias("way")
    )  # fmt: skip
    several = pl.concat([rows, trips(1).with_columns(pl.lit("air").alias("way")).head(50)])
    model = HistGradientBoostingClassifier(max_iter=5).fit(several.select("far", "fare").to_numpy(), several["way"])
    with world.run() as run:
        rival = run.log_model(
            "ways", model, training=["trips"], evaluation="later", example=several.select("far", "fare")
        )
    assert rival.signature.classes == ("air", "train", "zeppelin")


def test_a_fallback_by_sdk_and_command_line(world: Delivered, server: Server, version: ModelVersion) -> None:
    constant = {"label": "bus", "probabilities": [0.5, 0.25, 0.25]}
    made = world.client.deployments.fallback("trips", "to be safe", constant=constant, after_ms=100)
    assert made.fallback == Fallback(constant=constant, after_ms=100)
    with pytest.raises(Invalid, match="'probabilities' must be 3 of FP32"):
        world.client.deployments.fallback("trips", "", constant=constant | {"probabilities": 1})
    home = ["--home", str(world.application.home.folder)]
    shown = CliRunner().invoke(main, ["deployment", "show", "trips", *home])
    assert "a constant" in shown.output
    told = json.dumps(constant)
    release = world.client.deployments.get("trips").serving or ""
    done = CliRunner().invoke(
        main, ["deployment", "fallback", "trips", release, "--constant", told, "--why", "both", *home]
    )  # fmt: skip
    assert (done.exit_code, done.output) == (0, "when its model fails, trips answers by ways@1, then a constant\n")
    table = world.platform.deployments.routing("trips")
    assert table.fallback is not None
    assert (table.fallback.named, table.fallback.constant) == (release, constant)
    wrong = CliRunner().invoke(main, ["deployment", "fallback", "trips", "--constant", "[1]", "--why", "no", *home])
    assert (wrong.exit_code, "no JSON object" in wrong.output) == (2, True)
    done = CliRunner().invoke(main, ["deployment", "unfallback", "trips", "--why", "enough", *home])
    assert done.output == "trips has no fallback\n"
    assert world.platform.deployments.routing("trips").fallback is None
    described = CliRunner().invoke(main, ["model", "show", version.id, *home])
    assert "bus, car, train" in described.output
