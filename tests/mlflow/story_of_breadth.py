"""What users of MLflow do besides: boosters, networks, nested runs, figures, tables, evaluation, prompts, accounts.

With the whole of MLflow, not its skinny client."""

from __future__ import annotations

import time
from pathlib import Path

import lightgbm
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import pandas as pd
import torch
import xgboost
from chapters import chapter, play, refused
from mlflow import MlflowClient
from mlflow.server import get_app_client
from sklearn.linear_model import LogisticRegression


def rows(number: int = 80) -> tuple[pd.DataFrame, pd.Series]:
    numbers = np.random.default_rng(0).normal(size=(number, 3))
    frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
    return frame, pd.Series((numbers[:, 0] > 0).astype(int), name="late")


@chapter
def boosted_by_lightgbm(client: MlflowClient) -> None:
    mlflow.set_experiment("lightgbm")
    mlflow.lightgbm.autolog()
    frame, late = rows()
    with mlflow.start_run() as active:
        data = lightgbm.Dataset(frame, label=late)
        settings = {"objective": "binary", "verbose": -1, "num_leaves": 4}
        booster = lightgbm.train(settings, data, num_boost_round=5, valid_sets=[data], valid_names=["train"])
    mlflow.lightgbm.autolog(disable=True)
    run = client.get_run(active.info.run_id)
    assert run.data.params["num_leaves"] == "4"
    assert len(client.get_metric_history(active.info.run_id, "train-binary_logloss")) == 5
    assert run.inputs.dataset_inputs
    (model,) = mlflow.search_logged_models(output_format="list")
    assert np.allclose(mlflow.lightgbm.load_model(model.model_uri).predict(frame), booster.predict(frame))
    assert {file.path for file in client.list_artifacts(active.info.run_id)} >= {"feature_importance_gain.png"}


@chapter
def boosted_by_xgboost(client: MlflowClient) -> None:
    mlflow.set_experiment("xgboost")
    mlflow.xgboost.autolog(model_format="json")
    frame, late = rows()
    with mlflow.start_run() as active:
        estimator = xgboost.XGBClassifier(n_estimators=4, max_depth=2).fit(frame, late, eval_set=[(frame, late)])
    mlflow.xgboost.autolog(disable=True)
    assert client.get_run(active.info.run_id).data.params["max_depth"] == "2"
    assert len(client.get_metric_history(active.info.run_id, "validation_0-logloss")) == 4
    (model,) = mlflow.search_logged_models(output_format="list")
    assert (mlflow.xgboost.load_model(model.model_uri).predict(frame) == estimator.predict(frame)).all()


@chapter
def pytorch(client: MlflowClient) -> None:
    experiment = mlflow.set_experiment("pytorch").experiment_id
    mlflow.set_system_metrics_sampling_interval(0.2)
    frame, late = rows()
    inputs, wanted = torch.tensor(frame.to_numpy(dtype=np.float32)), torch.tensor(late.to_numpy(dtype=np.float32))
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.Adam(network.parameters())
    with mlflow.start_run(log_system_metrics=True) as active:
        for step in range(5):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(inputs)[:, 0], wanted)
            loss.backward()
            optimizer.step()
            logged = mlflow.pytorch.log_model(network, name="net", step=step, serialization_format="pickle")
            mlflow.log_metric("loss", loss.item(), step=step, model_id=logged.model_id)
            time.sleep(0.3)
    run = client.get_run(active.info.run_id)
    assert any(name.startswith("system/") for name in run.data.metrics), run.data.metrics
    assert len(run.outputs.model_outputs) == 5
    best = mlflow.search_logged_models([experiment], order_by=[{"field_name": "metrics.loss"}], output_format="list")
    assert "loss" in {metric.key for metric in best[0].metrics}
    again = mlflow.pytorch.load_model(best[0].model_uri)
    assert torch.equal(again(inputs), network(inputs))


@chapter
def nested(client: MlflowClient) -> None:
    experiment = mlflow.set_experiment("nested").experiment_id
    with mlflow.start_run(run_name="parent") as parent:
        for depth in range(3):
            with mlflow.start_run(run_name=f"child-{depth}", nested=True):
                mlflow.log_param("depth", depth)
                mlflow.log_metric("auc", depth / 10)
    children = client.search_runs(
        [experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["metrics.auc DESC"]
    )
    assert [run.info.run_name for run in children] == ["child-2", "child-1", "child-0"]
    assert client.get_parent_run(children[0].info.run_id).info.run_id == parent.info.run_id
    frame = mlflow.search_runs([experiment], "metrics.auc > 0.05")
    assert list(frame["params.depth"]) == ["2", "1"]
    assert str(frame["start_time"].dtype).startswith("datetime64")
    alone = client.search_runs([experiment], "tags.mlflow.parentRunId IS NULL")
    assert [run.info.run_name for run in alone] == ["parent"]


@chapter
def what_can_be_logged(client: MlflowClient) -> None:
    mlflow.set_experiment("everything logged")
    with mlflow.start_run() as active:
        figure, axes = plt.subplots()
        axes.plot([1, 2])
        mlflow.log_figure(figure, "figures/line.png")
        mlflow.log_table({"question": ["a", "b"], "answer": [1, 2]}, "table.json")
        mlflow.log_table({"question": ["c"], "answer": [3]}, "table.json")
        mlflow.log_dict({"a": [1]}, "some.yaml")
        mlflow.log_text("ü", "text.txt")
        mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "image.png")
        mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), key="seen", step=3)
        mlflow.log_input(mlflow.data.from_pandas(rows()[0], name="flights"), context="training")
        Path("one.txt").write_text("1")
        mlflow.log_artifact("one.txt", "here")
        mlflow.set_tag("mlflow.note.content", "# A note")
    identifier = active.info.run_id
    assert list(mlflow.load_table("table.json", run_ids=[identifier])["answer"]) == [1, 2, 3]
    assert mlflow.artifacts.load_text(f"runs:/{identifier}/some.yaml") == "a:\n- 1\n"
    assert mlflow.artifacts.load_text(f"runs:/{identifier}/text.txt") == "ü"
    assert mlflow.artifacts.load_image(f"runs:/{identifier}/image.png").size == (4, 4)
    assert {file.path for file in client.list_artifacts(identifier, "figures")} == {"figures/line.png"}
    assert client.list_artifacts(identifier, "images")
    found = client.search_runs([active.info.experiment_id], "dataset.name = 'flights' AND dataset.context = 'training'")
    assert [run.info.run_id for run in found] == [identifier]
    client.set_tag(identifier, "late", "é")


@chapter
def evaluation(client: MlflowClient) -> None:
    mlflow.set_experiment("evaluation")
    frame, late = rows()
    with mlflow.start_run() as active:
        logged = mlflow.sklearn.log_model(LogisticRegression().fit(frame, late), name="late", input_example=frame[:2])
        result = mlflow.models.evaluate(
            logged.model_uri, frame.assign(late=late), targets="late", model_type="classifier",
            evaluator_config={"log_explainer": False},
        )  # fmt: skip
    assert result.metrics["accuracy_score"] > 0.8
    assert client.get_run(active.info.run_id).data.metrics["accuracy_score"] == result.metrics["accuracy_score"]
    assert "confusion_matrix" in result.artifacts
    (model,) = mlflow.search_logged_models(filter_string="metrics.accuracy_score > 0.5", output_format="list")
    assert model.model_id == logged.model_id


@chapter
def prompts(client: MlflowClient) -> None:
    first = mlflow.genai.register_prompt("greeting", "Hello {{ name }}", commit_message="the first", tags={"a": "1"})
    second = mlflow.genai.register_prompt("greeting", "Good day, {{ name }}")
    assert (first.version, second.version) == (1, 2)
    mlflow.genai.set_prompt_alias("greeting", "champion", 1)
    assert mlflow.genai.load_prompt("prompts:/greeting@champion").format(name="Ada") == "Hello Ada"
    assert mlflow.genai.load_prompt("prompts:/greeting/2").template == "Good day, {{ name }}"
    assert mlflow.genai.load_prompt("greeting").version == 2
    assert [prompt.name for prompt in mlflow.genai.search_prompts()] == ["greeting"]
    assert [prompt.name for prompt in mlflow.genai.search_prompts("name = 'nothing'")] == []
    assert len(client.search_prompt_versions("greeting")) == 2
    assert not [model for model in client.search_registered_models() if model.name == "greeting"]
    mlflow.genai.set_prompt_tag("greeting", "team", "ops")
    mlflow.genai.set_prompt_version_tag("greeting", 1, "reviewed", "yes")
    assert mlflow.genai.get_prompt_tags("greeting")["team"] == "ops"
    assert mlflow.genai.load_prompt("greeting", version=1).tags["reviewed"] == "yes"
    mlflow.set_experiment("prompts")

    @mlflow.trace
    def greet(name: str) -> str:
        return mlflow.genai.load_prompt("prompts:/greeting@champion").format(name=name)

    greet("Ada")
    mlflow.flush_trace_async_logging()
    (trace,) = mlflow.search_traces(return_type="list")
    assert "greeting" in trace.info.tags["mlflow.linkedPrompts"]
    assert len(mlflow.search_traces(filter_string="prompt = 'greeting/1'", return_type="list")) == 1
    mlflow.genai.delete_prompt_alias("greeting", "champion")
    client.delete_prompt_version("greeting", "1")
    client.delete_prompt_version("greeting", "2")
    client.delete_prompt("greeting")
    assert not mlflow.genai.search_prompts()


@chapter
def accounts(client: MlflowClient) -> None:
    users = get_app_client("basic-auth", mlflow.get_tracking_uri())
    owner = users.get_user("owner")
    assert (owner.username, owner.is_admin) == ("owner", True)
    assert users.get_user("worker").is_admin is False
    experiment = client.create_experiment("accounts")
    found = users.get_user_permission("worker", "experiment", experiment)
    assert (found.allowed, found.permission) == (True, "EDIT")
    refused("ENDPOINT_NOT_FOUND", lambda: users.create_user("ada", "a long password"))
    refused("RESOURCE_DOES_NOT_EXIST", lambda: users.get_user("ada"))
    refused("INVALID_PARAMETER_VALUE", lambda: users.delete_user("owner"))


if __name__ == "__main__":
    play()
