"""Graphs of model versions: joined where all is ONNX, part by part where it is not, and the same answers either way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from headway.engines.models.assembly import assembled
from headway.engines.models.opening import open_graph, opener
from headway.engines.models.scoring import OnnxModel
from headway.errors import Invalid, NotTrusted
from headway.kernel.records import encode
from headway.lifecycle.models.graphs import Graph, ModelGraph, Node, Part, checked_size, composed, read_graph
from headway.lifecycle.models.records import Datatype, Form, ModelVersion, PythonRuntime, Signature, Task, TensorSpec
from headway.lifecycle.rollouts.fallbacks import Fallback
from headway.serving.offline.batch import score_file
from headway.serving.offline.releases import Releases
from headway.serving.offline.replay import replay_all
from tests.serving.delivered import OWNER, Delivered, delivered
from tests.serving.test_classes import CLASSES, CONTRACT, trips
from tests.serving.test_forms import folder_of

FEATURES = ["far", "fare"]
REFUSED = 3.5
PRE = """
def predict(inputs):
    if (inputs["far"] == 3.5).any():
        raise ValueError("not these rows")
    return {"far": inputs["far"] * 2, "fare": inputs["fare"] + 1}
"""
TENSORS = tuple(TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1)) for name in FEATURES)


def fit(kind: Any, rows: int = 600) -> Any:
    frame = trips(1, rows)
    return kind.fit(frame.select(FEATURES), frame["way"].to_numpy())


def is_far(rows: int) -> Any:
    frame = trips(5, rows)
    return LogisticRegression().fit(frame.select(FEATURES), (frame["far"] > 0.3).cast(pl.Int64).to_numpy())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    with delivered(tmp_path_factory.mktemp("graphs")) as opened:
        client = opened.client
        for name, seed in (("trips", 1), ("later", 2)):
            client.datasets.add(name, trips(seed), contract=CONTRACT)
        with opened.run() as run:
            told = {"training": ["trips"], "evaluation": "later"}
            run.log_model("plain", fit(LogisticRegression()), **told)
            run.log_model("trees", fit(HistGradientBoostingClassifier(max_iter=5)), **told)
            run.log_model("far", is_far(300), **told)
            run.log_model("farther", is_far(600), **told)
            line = LinearRegression().fit(trips(1).select(FEATURES), trips(1)["far"].to_numpy() * 3)
            run.log_model("cost", line, task="regression", **told)
            pair = pl.DataFrame(
                {"far": trips(2)["far"], "plain_bus": trips(2)["fare"].abs(), "trees_car": trips(2)["fare"]}
            )
            final = LogisticRegression().fit(pair, trips(2)["way"].to_numpy())
            run.log_model("final", final, example=pair, **told)
        yield opened


def logged(world: Delivered, name: str, graph: Graph, **told: Any) -> ModelVersion:
    with world.run() as run:
        return run.log_graph(name, graph, evaluation="later", **told)


def scores(world: Delivered, version: ModelVersion, frame: pl.DataFrame) -> Any:
    return OnnxModel(world.client.blobs.get(version.blob)).score(frame)


def test_a_mean_is_one_model(world: Delivered) -> None:
    made = logged(world, "both", Graph.mean("plain", "trees@1", weights=(3, 1)))
    assert (made.form, made.task, made.signature.classes) == (Form.ONNX, Task.MULTICLASS, CLASSES)
    assert made.parity is not None
    assert made.parity.proven
    assert [variant.name for variant in made.variants if variant.kept] == ["joined"]
    frame = trips(9, 50)
    plain, trees = (fit(kind).predict_proba(frame.select(FEATURES)) for kind in
                    (LogisticRegression(), HistGradientBoostingClassifier(max_iter=5)))  # fmt: skip
    assert scores(world, made, frame) == pytest.approx(0.75 * plain + 0.25 * trees, abs=1e-5)


def test_its_lineage_leads_to_its_parts_and_what_they_learnt_from(world: Delivered) -> None:
    made = logged(world, "traced", Graph.mean("plain", "trees"))
    parts = {world.client.models.version(name).id for name in ("plain", "trees")}
    assert set(made.parts) == parts
    assert made.training == (world.client.datasets.version("trips").id,)
    came_from = {edge.parent for edge in world.platform.lineage.parents(made.id)}
    assert parts <= came_from


def test_held_out_rows_that_a_part_learnt_from_are_refused(world: Delivered) -> None:
    with world.run() as run, pytest.raises(Invalid, match="both trained on and held out"):
        run.log_graph("cheating", Graph.mean("plain", "trees"), evaluation="trips")


def test_a_vote_of_labels(world: Delivered) -> None:
    made = logged(world, "ballot", Graph.vote("plain", "trees", "plain"))
    frame = trips(9, 60)
    plain, trees = (fit(kind).predict(frame.select(FEATURES)) for kind in
                    (LogisticRegression(), HistGradientBoostingClassifier(max_iter=5)))  # fmt: skip
    share = sum((np.array(CLASSES) == each[:, None]) * weight for each, weight in ((plain, 2 / 3), (trees, 1 / 3)))
    assert made.form is Form.ONNX, made.note
    assert scores(world, made, frame) == pytest.approx(share)


def test_two_classes_keep_one_probability(world: Delivered) -> None:
    made = logged(world, "binary", Graph.mean("far", "farther"))
    frame = trips(9, 20)
    expected = [is_far(rows).predict_proba(frame.select(FEATURES))[:, 1] for rows in (300, 600)]
    assert (made.task, made.signature.classes) == (Task.BINARY, ())
    assert scores(world, made, frame) == pytest.approx(np.mean(expected, axis=0), abs=1e-5)


def test_a_stack_takes_scores_by_name(world: Delivered) -> None:
    made = logged(world, "stacked", Graph.stack("final", "plain", "trees"))
    assert made.form is Form.ONNX
    assert [spec.name for spec in made.signature.inputs] == ["far", "fare"]
    with pytest.raises(Invalid, match="takes no column 'cost'"):
        logged(world, "stacked", Graph.stack("final", "plain", "trees", "cost"))


def test_what_does_not_fit_together(world: Delivered) -> None:
    for graph, what in (
        (Graph.mean("plain"), "2 to 20 parts"),
        (Graph.mean("plain", "far"), "do not tell the same classes apart"),
        (Graph.mean("plain", "cost"), "do not tell the same classes apart"),
        (Graph.vote("cost", "cost"), "only classes can be voted on"),
        (Graph.mean("plain", "trees", weights=(1, 0)), "weights above 0"),
    ):
        with pytest.raises(Invalid, match=what):
            logged(world, "odd", graph)


@pytest.fixture(scope="module")
def mixed(world: Delivered, tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    """A function of Python before a model in ONNX."""
    path = folder_of(tmp_path_factory.mktemp("pre") / "model", PRE)
    signature = Signature(inputs=TENSORS, outputs=TENSORS, score="fare")
    with world.run() as run:
        pre = run.log_model("pre", path, training=["trips"], evaluation="later", task="regression", signature=signature)
    with pytest.raises(NotTrusted):
        logged(world, "chained", Graph.chain("pre", "plain"))
    world.platform.models.trust(pre.id, "it was read", by=OWNER)
    return logged(world, "chained", Graph.chain("pre", "plain"))


def test_a_step_that_is_not_onnx_runs_in_its_worker(world: Delivered, mixed: ModelVersion) -> None:
    assert (mixed.form, mixed.as_logged, mixed.signature.classes) == (Form.GRAPH, True, CLASSES)
    assert "runs in a worker of its own" in mixed.note
    nodes = read_graph(world.client.blobs.get(mixed.blob)).nodes
    assert [node.name for node in nodes] == ["pre", "plain"]
    assert [(source.node, source.output) for source in nodes[1].takes["far"]] == [("pre", "far")]


def test_it_is_served_captured_and_replayed(world: Delivered, mixed: ModelVersion) -> None:
    world.declare("trips", "chained")
    world.ship(mixed, "trips")
    server = world.serve("trips")
    expected = fit(LogisticRegression()).predict_proba(pl.DataFrame({"far": [2.0], "fare": [0.5]}))[0]
    for place in range(3):
        body = {"features": {"far": 1, "fare": -0.5}, "id": f"g-{place}"}
        status, answer = server.call("POST", "/v1/predict/trips", body)
        assert status == 200
        assert list(answer["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
    assert server.call("GET", "/v2/models/trips")[1]["platform"] == "headway_graph"
    world.bring_back(server, "trips")
    again = replay_all(world.client, "trips")
    assert (again.rows, again.identical, again.unsteady) == (3, 3, 0)


def test_the_gate_scores_it_part_by_part(world: Delivered, mixed: ModelVersion) -> None:
    model = open_graph(mixed, world.client.blobs.get(mixed.blob), world.client.blobs.get, PythonRuntime())
    try:
        frame = trips(7, 30)
        moved = frame.select((pl.col("far") * 2).alias("far"), (pl.col("fare") + 1).alias("fare"))
        assert model.score(frame) == pytest.approx(fit(LogisticRegression()).predict_proba(moved), abs=1e-5)
    finally:
        model.close()


def test_trust_is_taken_back_from_a_part_and_so_from_its_graph(world: Delivered, mixed: ModelVersion) -> None:
    models = world.platform.models
    with pytest.raises(Invalid, match="no trust to take back"):
        models.distrust(mixed.id, "it is no model of its own", by=OWNER)
    taken = models.distrust("pre@1", "it was not read well", by=OWNER)
    with pytest.raises(NotTrusted, match="not read well"):
        world.client.models.trust_of(mixed)
    known = models.word_on(mixed)
    assert known is not None
    assert known.id == taken.id  # what serves goes on
    models.trust("pre@1", "it was read again", by=OWNER)
    assert world.client.models.trust_of(mixed) == taken.id


def test_a_graph_of_other_models_than_it_names_is_refused(world: Delivered, mixed: ModelVersion) -> None:
    from headway.lifecycle.models.records import AddVersion  # noqa: PLC0415

    wrong = AddVersion(
        model="forged", blob=mixed.blob, signature=mixed.signature, task=mixed.task, run=mixed.run, training=("trips",),
        evaluation="later", form=Form.GRAPH, parts=(world.client.models.version("far").id,),
    )  # fmt: skip
    with pytest.raises(Invalid, match="not made of the model versions that it names"):
        world.client.models.add(wrong)


@pytest.fixture(scope="module")
def nested(world: Delivered, mixed: ModelVersion) -> ModelVersion:
    """A graph that runs part by part, as a part of another one beside a model in ONNX."""
    return logged(world, "nested", Graph.mean("chained", "trees", weights=(3, 1)))


def answers(frame: pl.DataFrame) -> Any:
    moved = frame.select((pl.col("far") * 2).alias("far"), (pl.col("fare") + 1).alias("fare"))
    chained = fit(LogisticRegression()).predict_proba(moved)
    trees = fit(HistGradientBoostingClassifier(max_iter=5)).predict_proba(frame.select(FEATURES))
    return 0.75 * chained + 0.25 * trees


def test_a_graph_is_a_part_of_a_graph(world: Delivered, mixed: ModelVersion, nested: ModelVersion) -> None:
    assert (nested.form, nested.signature.classes) == (Form.GRAPH, CLASSES)
    assert set(nested.parts) == {mixed.id, world.client.models.version("trees").id}
    assert {file.name for file in nested.files} == {"chained@1", "pre@1", "plain@1", "trees@1", "model.py", "beside.py"}
    get = world.client.blobs.get
    with ExitStack() as open_until:
        model = opener(get, PythonRuntime(), None, open_until)(nested, get(nested.blob))
        frame = trips(7, 30)
        assert model.score(frame) == pytest.approx(answers(frame), abs=1e-5)


def test_a_graph_inside_another_is_served_captured_replayed_and_scores_tables(
    world: Delivered, nested: ModelVersion, tmp_path: Path
) -> None:
    world.declare("nest", "nested")
    release = world.ship(nested, "nest")
    server = world.serve("nest")
    asked = pl.DataFrame({"far": [1.0, -2.0, 0.25], "fare": [-0.5, 0.5, 1.5]})
    for place, row in enumerate(asked.iter_rows(named=True)):
        status, answer = server.call("POST", "/v1/predict/nest", {"features": row, "id": f"n-{place}"})
        assert status == 200
        assert list(answer["probabilities"].values()) == pytest.approx(answers(asked)[place], abs=1e-5)
    world.bring_back(server, "nest")
    again = replay_all(world.client, "nest")
    assert (again.rows, again.identical, again.unsteady) == (3, 3, 0)
    asked.write_parquet(tmp_path / "in.parquet")
    with Releases(world.client) as releases:
        score_file(releases.get(release.id), tmp_path / "in.parquet", tmp_path / "out.parquet")
    told = pl.read_parquet(tmp_path / "out.parquet")["_probabilities"].to_list()
    assert np.array(told) == pytest.approx(answers(asked), abs=1e-5)


def test_another_release_answers_where_a_part_of_an_inner_graph_fails(world: Delivered, nested: ModelVersion) -> None:
    world.declare("nest", "nested")
    world.ship(nested, "nest")
    world.declare("spare", "both")
    spare = world.ship(logged(world, "both", Graph.mean("plain", "trees")), "spare")
    world.platform.deployments.fallback("nest", Fallback(release=spare.id), "a test", by=OWNER)
    server = world.serve("nest")
    for far, by in ((1.0, None), (REFUSED, spare.id)):
        status, answer = server.call("POST", "/v1/predict/nest", {"features": {"far": far, "fare": 0.5}})
        assert (status, answer.get("fallback")) == (200, by)


def test_trust_is_taken_back_from_a_part_of_an_inner_graph(world: Delivered, nested: ModelVersion) -> None:
    models = world.platform.models
    models.distrust("pre@1", "it was not read well", by=OWNER)
    try:
        with pytest.raises(NotTrusted, match="not read well"):
            world.client.models.trust_of(nested)
    finally:
        models.trust("pre@1", "it was read again", by=OWNER)


def test_graphs_of_onnx_inside_another_are_one_model(world: Delivered) -> None:
    """A graph whose joining was refused alone is tried again as a part, and proven as a whole."""
    client = world.client
    inner, signature = composed(Graph.mean("plain", "trees"), client.models.version)
    version = client.models.version("plain").but(
        model="inner", form=Form.GRAPH, signature=signature, blob=client.blobs.put(encode(inner))
    )  # fmt: skip
    found = {"inner": version, "trees": client.models.version("trees")}
    graph, signature = composed(Graph.mean("inner", "trees"), found.__getitem__)
    frame = trips(7, 40)
    made = assembled(graph, signature, frame.select(FEATURES), client.blobs.get)
    assert (made.form, made.parity.proven) == (Form.ONNX, True), made.note
    plain, trees = (fit(kind).predict_proba(frame.select(FEATURES)) for kind in
                    (LogisticRegression(), HistGradientBoostingClassifier(max_iter=5)))  # fmt: skip
    assert OnnxModel(made.data).score(frame) == pytest.approx(0.25 * plain + 0.75 * trees, abs=1e-5)


def inside(*parts: Part) -> ModelGraph:
    nodes = tuple(Node(name=f"n{at}", part=part) for at, part in enumerate(parts))
    return ModelGraph(nodes=nodes, gives={})


def test_graphs_are_bounded_in_depth_and_number(world: Delivered, mixed: ModelVersion) -> None:
    signature = Signature(inputs=TENSORS, outputs=TENSORS, score="fare")
    graph = Part(version="mv_1", label="a@1", blob="b3:a", size=1, signature=signature, form=Form.GRAPH)
    leaf = graph.but(form=Form.ONNX)
    itself = encode(inside(graph))
    with pytest.raises(Invalid, match="at most 4 deep"):
        checked_size(inside(graph), lambda _: itself)
    assert checked_size(inside(graph, leaf), lambda _: encode(inside(*[leaf] * 20))) == 21
    with pytest.raises(Invalid, match="at most 60 models"):
        checked_size(inside(*[graph] * 4), lambda _: encode(inside(*[leaf] * 20)))
    names = ["chained", "deep-2", "deep-3", "deep-4"]
    for inner, outer in pairwise(names):
        logged(world, outer, Graph.mean(inner, "trees"))
    with pytest.raises(Invalid, match="at most 4 deep"):
        logged(world, "deep-5", Graph.mean("deep-4", "trees"))


def test_a_chain_of_onnx_is_one_model(world: Delivered, tmp_path: Path) -> None:
    """The second takes what the first gives under this name: the label's class is not asked for."""
    made = logged(world, "line", Graph.chain("cost", "plain"))
    assert made.form is Form.ONNX
    assert scores(world, made, trips(3, 5)).shape == (5, 3)
