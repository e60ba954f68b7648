"""The handle on a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headway.client.active import active_run
from headway.client.client import Client
from headway.client.run import Exported, Run
from headway.client.session import ClientSession
from headway.errors import Conflict, Invalid
from headway.kernel.records import digest
from headway.lifecycle.models.records import Datatype, Parity, Signature, TensorSpec
from headway.lifecycle.runs.records import Code, Output, PipelineNode, RunState, StepResult, StepRun

TENSOR = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1))
SIGNATURE = Signature(inputs=(TENSOR,), outputs=(TENSOR.but(name="score"),), score="score")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class PlainExporter:
    """Takes bytes for ONNX, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, str, Any, str | None]] = []

    def export(self, model: Any, evaluation: str, example: Any, score: str | None) -> Exported:
        self.asked.append((model, evaluation, example, score))
        parity = Parity(rows=3, max_difference=0.0, worst_row=0, tolerance=1e-4)
        return Exported(onnx=bytes(model), signature=SIGNATURE, parity=parity)


Start = Callable[..., Run]


@pytest.fixture
def start(author: Client) -> Start:
    def start(experiment: str = "handles", **told: Any) -> Run:
        return author.start_run(experiment, PlainExporter(), **told)

    return start


def test_everything_that_is_logged_is_there_at_the_end(author: Client, start: Start, tmp_path: Path) -> None:
    (tmp_path / "plot.txt").write_text("a plot")
    with start(params={"depth": 3}, tags={"team": "ops"}) as run:
        for step in range(10):
            run.log_metric("loss", 1 / (step + 1), step=step)
        run.log_metrics({"auc": 0.5, "f1": 0.25})
        run.log_param("rate", 0.1)
        run.set_tag("note", "good")
        run.log_artifact("bytes", b"\x00")
        run.log_artifact("file", tmp_path / "plot.txt")
        run.log_artifact("text", "words")
        run.log_artifact("json", {"a": [1, 2]})
    kept = author.runs.get(run.id)
    assert kept.state is RunState.FINISHED
    assert kept.params == {"depth": "3", "rate": "0.1"}
    assert kept.tags == {"team": "ops", "note": "good"}
    assert author.runs.metrics([run.id])[run.id] == {"loss": 0.1, "auc": 0.5, "f1": 0.25}
    assert len(author.runs.history(run.id, "loss").points) == 10
    artifacts = {artifact.name: author.blobs.get(artifact.blob) for artifact in author.runs.artifacts(run.id)}
    assert artifacts["bytes"] == b"\x00"
    assert artifacts["file"] == b"a plot"
    assert artifacts["text"] == b"words"
    assert json.loads(artifacts["json"]) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [(ValueError("bad row"), RunState.FAILED, "ValueError: bad row"), (KeyboardInterrupt(), RunState.CANCELLED, "")],
)
def test_how_a_block_ends(author: Client, start: Start, error: BaseException, state: RunState, said: str) -> None:
    run = start()

    def fail() -> None:
        with run:
            run.log_metric("before", 1)
            raise error

    with pytest.raises(type(error)):
        fail()
    kept = author.runs.get(run.id)
    assert (kept.state, kept.error) == (state, said)
    assert author.runs.metrics([run.id])[run.id] == {"before": 1.0}


def test_the_innermost_block_is_active(start: Start) -> None:
    assert active_run() is None
    with start() as outer:
        with start() as inner:
            assert active_run() is inner
        assert active_run() is outer
    assert active_run() is None


def test_datasets_know_the_run_that_made_them(author: Client, start: Start) -> None:
    with start() as run:
        assert author.datasets.add("made", {"a": [1]}).made_by == run.id
    assert author.datasets.add("made", {"a": [2]}).made_by == ""


def test_params_do_not_change(start: Start) -> None:
    with start(params={"depth": 3}) as run:
        run.log_param("depth", "3")
        with pytest.raises(Invalid, match="'depth' is '3' already"):
            run.log_params({"depth": 4})


@pytest.mark.parametrize("value", ["high", None, [1, 2], {}])
def test_a_metric_is_a_number(start: Start, value: Any) -> None:
    with start() as run, pytest.raises(Invalid, match="'auc' takes a number"):
        run.log_metric("auc", value)


@pytest.mark.parametrize("content", [object(), Path("/nowhere/at/all")])
def test_an_artifact_that_cannot_be_kept(start: Start, content: Any) -> None:
    with start() as run, pytest.raises(Invalid):
        run.log_artifact("x", content)


def test_logging_to_a_run_that_is_over_is_said_at_the_end(author: Client, start: Start) -> None:
    run = start()
    author.runs.move(run.id, RunState.FINISHED)
    run.log_metric("late", 1)
    with pytest.raises(Conflict, match="start a new run"):
        run.finish()


def test_model(author: Client) -> None:
    training = author.datasets.add("learn", {"x": [1.0]})
    author.datasets.add("judge", {"x": [2.0]})
    exporter = PlainExporter()
    with author.start_run("models", exporter) as run:
        version = run.log_model(
            "scorer", b"onnx", training=[training], evaluation="judge@1", task="regression", example="rows",
            baselines={"mean": b"simple"}, metrics={"mae": 2, "r2": float("nan")}, score="score", note="first",
        )  # fmt: skip
    assert author.models.onnx("scorer") == b"onnx"
    assert (version.run, version.training, version.signature) == (run.id, (training.id,), SIGNATURE)
    assert author.datasets.version(version.evaluation).label == "judge@1"
    assert [(baseline.name, author.blobs.get(baseline.blob)) for baseline in version.baselines] == [("mean", b"simple")]
    assert version.metrics == {"mae": 2.0}
    assert author.runs.metrics([run.id])[run.id]["mae"] == 2.0
    assert exporter.asked == [(b"onnx", "judge@1", "rows", "score"), (b"simple", "judge@1", "rows", "score")]


def test_a_model_is_not_judged_by_what_it_learnt_from(author: Client, start: Start) -> None:
    version = author.datasets.add("same", {"x": [1.0]})
    with start() as run, pytest.raises(Invalid, match="trained on and held out"):
        run.log_model("cheat", b"onnx", training=[version], evaluation=version)


def test_an_unknown_task(start: Start) -> None:
    with start() as run, pytest.raises(Invalid, match="binary, multiclass, regression"):
        run.log_model("m", b"onnx", training=[], evaluation="judge@1", task="clustering")


def test_session(author: Client, start: Start) -> None:
    run = start()
    session = ClientSession(author, run.id, "sessions", Code(digest="b3:1"))
    assert session.run == run.id
    blob = session.put_blob(b"value")
    assert session.get_blob(blob) == b"value"
    key = digest(b"a key of a session")
    assert session.cached(key) is None
    result = StepResult(
        id="", created_at=NOW, key=key, step="load", run=run.id, outputs=(Output(blob=blob, format="bytes"),)
    )
    assert session.keep(result) == session.cached(key)
    session.progress([StepRun(step="load", key=key)], [PipelineNode(step="load")])
    assert [step.step for step in author.runs.steps(run.id)] == ["load"]
    assert "sessions" in {pipeline.name for pipeline in author.pipelines.list().items}
