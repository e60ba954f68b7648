"""The SDK without a server: runs, pipelines and models, in a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import headway as hw
from headway.errors import StepFailed
from headway.lifecycle.models.records import Task
from headway.lifecycle.runs.records import RunState, StepState


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hw.Client]:
    client = hw.connect(home=tmp_path_factory.mktemp("sdk") / ".headway")
    yield client
    client.close()


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=400).astype(np.float32), chance.normal(size=400).astype(np.float32)
    return pl.DataFrame({"x": x, "y": y, "late": (x + 0.3 * y > 0.2).astype(np.int64)})


@hw.step
def double(n: int) -> int:
    hw.log_metric("doubled", 2 * n)
    return 2 * n


@hw.step
def describe(n: int) -> dict[str, Any]:
    return {"n": n, "even": n % 2 == 0}


@hw.step
def stop(n: int) -> int:
    raise ValueError(f"no more than {n}")


@hw.pipeline
def chain(n: int = 3) -> Any:
    return describe(double(n))


@hw.pipeline
def failing(n: int = 3) -> Any:
    return stop(double(n))


def newest(client: hw.Client, experiment: str) -> Any:
    return client.runs.list(experiment=experiment, limit=1).items[0]


class TestPipelines:
    def test_gives_plain_values_and_leaves_a_run(self, client: hw.Client) -> None:
        assert hw.run(chain, n=5) == {"n": 10, "even": True}
        run = newest(client, "chain")
        assert (run.state, run.pipeline, run.params) == (RunState.FINISHED, "chain", {"n": "5"})
        assert [(step.step, step.state) for step in client.runs.steps(run.id)] == [
            ("double", StepState.DONE), ("describe", StepState.DONE),
        ]  # fmt: skip
        metrics = client.runs.metrics([run.id])[run.id]
        assert {key: value for key, value in metrics.items() if not key.startswith("system/")} == {"doubled": 10.0}

    def test_the_second_time_comes_from_the_cache(self, client: hw.Client) -> None:
        hw.run(chain, n=7)
        assert hw.run(chain, n=7) == {"n": 14, "even": True}
        states = {step.state for step in client.runs.steps(newest(client, "chain").id)}
        assert states == {StepState.CACHED}

    def test_the_same_code_without_headway(self) -> None:
        assert describe(4) == {"n": 4, "even": True}

    def test_a_failing_step_fails_the_run(self, client: hw.Client) -> None:
        with pytest.raises(StepFailed, match="no more than 6"):
            hw.run(failing)
        run = newest(client, "failing")
        assert run.state is RunState.FAILED
        assert "no more than 6" in run.error

    def test_wrong_arguments(self) -> None:
        with pytest.raises(hw.Invalid, match="unexpected keyword argument 'm'"):
            hw.run(chain, m=1)
        with pytest.raises(hw.Invalid):
            hw.run(lambda: 1)  # type: ignore[arg-type]


class TestRuns:
    def test_logging_goes_to_the_active_run(self, client: hw.Client) -> None:
        with hw.start_run("free", params={"depth": 2}, tags={"by": "test"}) as run:
            hw.log_metrics({"auc": 0.5})
            hw.log_param("rate", 1)
            hw.log_params({"seed": 7})
            hw.log_artifact("notes", {"a": 1})
        assert client.runs.get(run.id).params == {"depth": "2", "rate": "1", "seed": "7"}

    def test_what_it_records_by_itself_is_said_by_the_project_or_by_argument(
        self, client: hw.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "headway.toml").write_text("[project]\nname = 'x'\n[capture]\nsystem = false\ncode = false\n")
        monkeypatch.chdir(tmp_path)
        found = []
        for capture in (None, True, False):
            with hw.start_run("captured", capture=capture) as run:
                hw.log_metric("auc", 0.5)
                if capture:
                    with hw.start_run("inner", capture=True) as inner:
                        pass
            metrics = client.runs.metrics([run.id])[run.id]
            found.append((any(key.startswith("system/") for key in metrics), len(client.runs.artifacts(run.id))))
        assert found == [(False, 2), (True, 2), (False, 0)]
        assert "headway.command" in client.runs.get(inner.id).tags
        assert client.runs.artifacts(inner.id) == ()
        (tmp_path / "headway.toml").write_text("[capture]\nsistem = false\n")
        with pytest.raises(hw.Invalid, match="did you mean 'system'"):
            hw.start_run("captured")

    def test_a_run_inside_a_run_is_its_child(self, client: hw.Client) -> None:
        with hw.start_run("outer") as outer, hw.start_run("inner") as inner:
            pass
        assert client.runs.get(inner.id).parent == outer.id

    def test_without_an_active_run(self) -> None:
        with pytest.raises(hw.Invalid, match="start_run"):
            hw.log_metric("auc", 1)

    def test_datasets(self) -> None:
        contract = hw.Contract(columns=(hw.ColumnRule(name="a", kind=hw.Kind.INT, low=0),))
        added = hw.add_dataset("short", {"a": [1, 2]}, contract=contract)
        assert hw.read_dataset(added.label)["a"].to_list() == [1, 2]
        with pytest.raises(hw.Refused):
            hw.add_dataset("short", {"a": [-1]})


class TestModels:
    def test_an_estimator_becomes_a_proven_model(self, client: hw.Client, rows: pl.DataFrame) -> None:
        training, held_out = hw.add_dataset("learn", rows.head(300)), hw.add_dataset("judge", rows.tail(100))
        model = LogisticRegression().fit(rows.head(300).select("x", "y"), rows.head(300)["late"])
        base = LogisticRegression(C=1e-6).fit(rows.head(300).select("x", "y"), rows.head(300)["late"])
        with hw.start_run("train"):
            version = hw.log_model(
                "lateness", model, training=[training], evaluation=held_out, baselines={"flat": base},
                metrics={"auc": 0.9},
            )  # fmt: skip
        assert version.parity is not None
        assert version.parity.proven
        assert version.parity.rows == 100
        assert [tensor.name for tensor in version.signature.inputs] == ["x", "y"]
        assert version.signature.score == "probabilities"
        assert client.models.onnx("lateness") != client.blobs.get(version.baselines[0].blob)

    def test_onnx_bytes_are_taken_as_they_are(self, client: hw.Client) -> None:
        onnx = client.models.onnx("lateness")
        with hw.start_run("import"):
            version = hw.log_model("imported", onnx, training=["learn@1"], evaluation="judge@1")
        assert (version.parity, client.models.onnx("imported")) == (None, onnx)

    def test_regression_with_an_example(self, rows: pl.DataFrame) -> None:
        model = LinearRegression().fit(rows.select("x"), rows["y"])
        with hw.start_run("regress"):
            version = hw.log_model(
                "line", model, training=["learn@1"], evaluation="judge@1", task="regression", example=rows.select("x")
            )
        assert version.task is Task.REGRESSION

    def test_what_stands_in_the_way_is_said(self, rows: pl.DataFrame) -> None:
        nameless = LinearRegression().fit(rows.select("x").to_numpy(), rows["y"])
        told = {"training": ["learn@1"], "evaluation": "judge@1"}
        with hw.start_run("wrong"):
            with pytest.raises(hw.Invalid, match="example="):
                hw.log_model("m", nameless, **told)
            with pytest.raises(hw.Invalid):
                hw.log_model("m", object(), **told, example=rows)
            with pytest.raises(hw.Invalid):
                hw.log_model("m", b"no onnx", **told)
            with pytest.raises(hw.NotFound):
                hw.log_model("m", nameless, training=["learn@1"], evaluation="gone@1")
