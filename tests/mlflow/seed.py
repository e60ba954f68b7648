"""Fills an MLflow server with some of everything that it keeps. Run in an environment that has all of MLflow."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric
from sklearn.linear_model import LogisticRegression

ROWS = np.array([[0.0], [1.0], [2.0], [3.0]])


def runs(client: MlflowClient) -> str:
    mlflow.set_experiment("flights")
    client.set_experiment_tag(client.get_experiment_by_name("flights").experiment_id, "team", "ops")
    with mlflow.start_run(run_name="parent", tags={"mlflow.note.content": "what we saw\nand more"}) as active:
        mlflow.log_params({"depth": 3, "rate": 0.1, "empty": ""})
        client.log_batch(
            active.info.run_id,
            metrics=[Metric("loss", 1 / (step + 1), 1_700_000_000_000 + step, step) for step in range(900)],
        )
        mlflow.log_metrics({"bad": float("nan"), "far": float("inf"), "low": float("-inf")})
        data = mlflow.data.from_numpy(ROWS, targets=np.array([0, 0, 1, 1]), name="train rows")
        mlflow.log_input(data, context="training", tags={"quality": "good"})
        mlflow.log_text("hello", "notes/deep/hello world.txt")
        mlflow.log_text("", "empty.txt")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "big.bin").write_bytes(bytes(range(256)) * 8192)
            mlflow.log_artifact(f"{folder}/big.bin")
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_metric("auc", 0.7)
        return active.info.run_id


def models(client: MlflowClient) -> None:
    mlflow.set_experiment("models")
    with mlflow.start_run() as active:
        estimator = LogisticRegression().fit(ROWS, [0, 0, 1, 1])
        logged = mlflow.sklearn.log_model(
            estimator, name="model", input_example=ROWS[:1], params={"c": "1"}, serialization_format="cloudpickle"
        )
        mlflow.log_metric("accuracy", 0.75, model_id=logged.model_id)
        mlflow.log_text("weights", "old/model.txt")
    client.create_registered_model("late", tags={"owner": "ada"}, description="who is late")
    client.create_model_version("late", f"runs:/{active.info.run_id}/old", active.info.run_id, description="by hand")
    source = {"source": f"models:/{logged.model_id}", "model_id": logged.model_id, "run_id": active.info.run_id}
    client.create_model_version("late", **source, tags={"kind": "linear"})
    client.create_model_version("late", **source)
    client.delete_model_version("late", "2")
    client.set_registered_model_alias("late", "champion", "3")
    client.transition_model_version_stage("late", "1", "Staging")


def traces() -> None:
    mlflow.set_experiment("traces")

    @mlflow.trace
    def asked(question: str) -> str:
        return question.upper()

    asked("why")
    mlflow.flush_trace_async_logging()


def unusual(client: MlflowClient) -> None:
    open_run = client.create_run("0", run_name="still going")
    client.log_metric(open_run.info.run_id, "loss", 1.0, step=0)
    failed = client.create_run("0", run_name="failed")
    client.set_terminated(failed.info.run_id, "FAILED")
    gone = client.create_run("0", run_name="deleted")
    client.delete_run(gone.info.run_id)
    client.delete_experiment(client.create_experiment("put aside"))


def main() -> None:
    mlflow.set_tracking_uri(sys.argv[1])
    client = MlflowClient()
    runs(client)
    models(client)
    traces()
    unusual(client)


if __name__ == "__main__":
    main()
