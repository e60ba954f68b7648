"""What a user of MLflow does, with the client as it comes from the registry. Run in the client's own environment."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import numpy as np
from chapters import chapter, play, refused
from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookEvent, WebhookStatus
from sklearn.linear_model import LogisticRegression


@chapter
def experiments(client: MlflowClient) -> None:
    assert client.get_experiment("0").name == "Default"
    made = client.create_experiment("a name/with spaces", tags={"team": "ops"})
    refused("RESOURCE_ALREADY_EXISTS", lambda: client.create_experiment("a name/with spaces"))
    assert client.get_experiment_by_name("a name/with spaces").experiment_id == made
    assert client.get_experiment_by_name("nothing like it") is None
    client.set_experiment_tag(made, "stage", "trial")
    assert client.get_experiment(made).tags == {"team": "ops", "stage": "trial"}
    found = client.search_experiments(filter_string="tags.team = 'ops' AND name LIKE 'a name%'")
    assert [experiment.experiment_id for experiment in found] == [made]
    run = client.create_run(made)
    client.rename_experiment(made, "another name")
    assert client.get_run(run.info.run_id).info.experiment_id == made
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    assert made not in [experiment.experiment_id for experiment in client.search_experiments()]
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"


@chapter
def runs_and_what_they_log(client: MlflowClient) -> None:
    experiment = mlflow.set_experiment("logging").experiment_id
    with mlflow.start_run(run_name="first", tags={"kind": "trial"}) as active:
        identifier = active.info.run_id
        mlflow.log_params({"depth": 3, "rate": 0.1})
        mlflow.log_param("depth", 3)
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"auc": 0.9, "bad": float("nan"), "far": float("-inf")})
        with mlflow.start_run(nested=True, run_name="inner") as inner:
            mlflow.log_metric("auc", 0.5)
        refused("INVALID_PARAMETER_VALUE", lambda: client.log_param(identifier, "depth", 4))
    run = client.get_run(identifier)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first" == run.data.tags["mlflow.runName"]
    assert run.data.params == {"depth": "3", "rate": "0.1"}
    assert run.data.metrics["auc"] == 0.9
    assert np.isnan(run.data.metrics["bad"])
    assert run.data.metrics["far"] == float("-inf")
    assert [(point.step, point.value) for point in client.get_metric_history(identifier, "loss")] == [
        (step, 1 / (step + 1)) for step in range(5)
    ]
    assert client.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"] == identifier
    client.set_tag(identifier, "late", "yes")
    client.delete_tag(identifier, "kind")
    client.log_metric(identifier, "after", 1.0)
    client.update_run(identifier, name="renamed")
    run = client.get_run(identifier)
    assert run.info.run_name == "renamed" == run.data.tags["mlflow.runName"]
    assert "kind" not in run.data.tags
    assert run.data.metrics["after"] == 1.0
    with mlflow.start_run(run_id=identifier):
        mlflow.log_metric("again", 2.0)
    client.delete_run(identifier)
    assert identifier not in [found.info.run_id for found in client.search_runs([experiment])]
    client.restore_run(identifier)
    client.set_terminated(identifier, "KILLED")
    assert client.get_run(identifier).info.status == "KILLED"
    refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_run("rn_nothing"))


@chapter
def search(client: MlflowClient) -> None:
    experiment = client.create_experiment("searching")
    runs = []
    for number in range(6):
        run = client.create_run(experiment, run_name=f"run-{number}", start_time=1_700_000_000_000 + number)
        runs.append(run.info.run_id)
        if number:
            client.log_metric(run.info.run_id, "auc", float("nan") if number == 1 else number / 10)
        client.log_param(run.info.run_id, "model", "forest" if number % 2 else "linear")
        client.set_tag(run.info.run_id, "Team name", "ops" if number < 3 else "web")

    def found(filter_string: str, *order: str, limit: int = 100) -> list[int]:
        page = client.search_runs([experiment], filter_string, order_by=list(order), max_results=limit)
        return [runs.index(run.info.run_id) for run in page]

    assert found("") == [5, 4, 3, 2, 1, 0]
    assert found("metrics.auc > 0.25") == [5, 4, 3]
    assert found("metrics.auc >= 0.2 and params.model = 'linear'") == [4, 2]
    assert found("params.model LIKE 'for%'") == [5, 3, 1]
    assert found("params.model LIKE 'FOR%'") == []
    assert found("params.model ILIKE 'FOR%'") == [5, 3, 1]
    assert found("tags.`Team name` != 'ops'") == [5, 4, 3]
    assert found("tags.missing IS NULL", limit=2) == [5, 4]
    assert found("attributes.run_name = 'run-2'") == [2]
    assert found("run_id IN ('" + runs[1] + "', '" + runs[4] + "')") == [4, 1]
    assert found("attributes.start_time >= 1700000000004") == [5, 4]
    assert found("status = 'RUNNING' and tags.`Team name` = 'ops'") == [2, 1, 0]
    assert found("", "metrics.auc ASC") == [2, 3, 4, 5, 1, 0]
    assert found("", "metrics.auc DESC") == [5, 4, 3, 2, 1, 0]
    assert found("", "params.model", "attributes.start_time ASC") == [1, 3, 5, 0, 2, 4]
    pages, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=4, page_token=token)
        pages.append(len(page))
        token = page.token
        if not token:
            break
    assert pages == [4, 2]
    for wrong in ("metrics.auc > 'x'", "params.a = 3", "nothing", "metrics.auc > 1 OR metrics.auc < 1", "a.b = 'c'"):
        refused("INVALID_PARAMETER_VALUE", lambda wrong=wrong: client.search_runs([experiment], wrong))


@chapter
def artifacts(client: MlflowClient) -> None:
    mlflow.set_experiment("files")
    with mlflow.start_run() as active:
        identifier = active.info.run_id
        mlflow.log_text("hello", "notes/a.txt")
        mlflow.log_dict({"a": 1}, "b.json")
        mlflow.log_text("<script>", "page.html")
        mlflow.log_text("", "empty")
    assert [(file.path, file.is_dir) for file in client.list_artifacts(identifier)] == [
        ("b.json", False), ("empty", False), ("notes", True), ("page.html", False),
    ]  # fmt: skip
    assert [(file.path, file.file_size) for file in client.list_artifacts(identifier, "notes")] == [("notes/a.txt", 5)]
    assert mlflow.artifacts.load_text(f"runs:/{identifier}/notes/a.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{identifier}/b.json") == {"a": 1}
    folder = mlflow.artifacts.download_artifacts(run_id=identifier, artifact_path="")
    assert Path(folder, "notes", "a.txt").read_text() == "hello"


@chapter
def large_files(client: MlflowClient) -> None:
    mlflow.set_experiment("large files")
    os.environ |= {
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "5242880",
        "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "5242880",
        "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": "1000000",
    }
    content = np.random.default_rng(0).bytes(12_000_000)
    Path("large.bin").write_bytes(content)
    with mlflow.start_run() as active:
        mlflow.log_artifact("large.bin", "a folder")
    for forced in ("false", "true"):
        os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] = forced
        path = client.download_artifacts(active.info.run_id, "a folder/large.bin")
        assert Path(path).read_bytes() == content
    for name in ("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"):
        del os.environ[name]


@chapter
def a_model_from_training_to_an_alias(client: MlflowClient) -> None:
    mlflow.set_experiment("models")
    rows = np.random.default_rng(0).normal(size=(60, 3))
    late = (rows[:, 0] > 0).astype(int)
    mlflow.sklearn.autolog(log_datasets=True)
    with mlflow.start_run() as active:
        estimator = LogisticRegression().fit(rows, late)
        logged = mlflow.sklearn.log_model(estimator, name="late", registered_model_name="late flights")
    mlflow.sklearn.autolog(disable=True)
    run = client.get_run(active.info.run_id)
    assert run.data.params["C"] == "1.0"
    assert run.data.metrics["training_score"] > 0.8
    assert run.inputs.dataset_inputs
    assert run.outputs.model_outputs
    version = client.get_model_version("late flights", "1")
    assert version.run_id == active.info.run_id
    assert version.status == "READY"
    client.set_registered_model_alias("late flights", "champion", "1")
    client.set_model_version_tag("late flights", "1", "checked", "yes")
    client.update_model_version("late flights", "1", description="the first")
    for uri in (logged.model_uri, "models:/late flights@champion", "models:/late flights/1"):
        assert (mlflow.pyfunc.load_model(uri).predict(rows) == estimator.predict(rows)).all()
    assert client.get_model_version_by_alias("late flights", "champion").tags["checked"] == "yes"
    assert [model.name for model in client.search_registered_models("name LIKE 'late%'")] == ["late flights"]
    assert [found.version for found in client.search_model_versions("name = 'late flights'")] == ["1"]
    assert mlflow.search_logged_models(output_format="list")
    client.transition_model_version_stage("late flights", "1", "Staging")
    assert client.get_latest_versions("late flights", ["Staging"])[0].version == "1"
    client.delete_registered_model_alias("late flights", "champion")
    client.rename_registered_model("late flights", "on time")
    refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_registered_model("late flights"))
    client.delete_model_version("on time", "1")
    client.delete_registered_model("on time")
    assert not client.search_registered_models()


@chapter
def traces(client: MlflowClient) -> None:
    mlflow.set_experiment("tracing")

    @mlflow.trace
    def answer(question: str) -> str:
        return question.upper()

    assert answer("why") == "WHY"
    mlflow.flush_trace_async_logging()
    found = mlflow.search_traces(return_type="list")
    assert len(found) == 1
    assert found[0].data.spans[0].name == "answer"
    identifier = found[0].info.trace_id
    client.set_trace_tag(identifier, "kind", "trial")
    mlflow.log_feedback(trace_id=identifier, name="good", value=True)
    trace = mlflow.get_trace(identifier)
    assert trace.info.tags["kind"] == "trial"
    assert [each.value for each in trace.info.assessments] == [True]
    assert client.delete_traces(found[0].info.experiment_id, trace_ids=[identifier]) == 1
    assert not mlflow.search_traces(return_type="list")


@chapter
def webhooks(client: MlflowClient) -> None:
    """Told at `RECEIVER`, by a server that is allowed to."""
    url = os.environ["RECEIVER"]
    made = client.create_webhook("chat", url, ["registered_model.created", "model_version_alias.created"], secret="s3")
    assert (made.status, made.secret) == (WebhookStatus.ACTIVE, None)
    assert [str(event) for event in made.events] == ["registered_model.created", "model_version_alias.created"]
    assert client.get_webhook(made.webhook_id).url == url
    second = client.create_webhook("other", url, [WebhookEvent("model_version", "created")], status="DISABLED")
    page = client.list_webhooks(max_results=1)
    assert [each.name for each in [*page, *client.list_webhooks(page_token=page.token)]] == ["chat", "other"]
    changed = client.update_webhook(second.webhook_id, description="for later", events=["prompt.created"])
    assert (changed.description, changed.name, changed.status) == ("for later", "other", WebhookStatus.DISABLED)
    client.delete_webhook(second.webhook_id)
    refused("RESOURCE_DOES_NOT_EXIST", lambda: client.get_webhook(second.webhook_id))
    refused("INVALID_PARAMETER_VALUE", lambda: client.create_webhook("x", "http://example.com", ["prompt.created"]))
    refused("BAD_REQUEST", lambda: client.create_webhook("x", "https://169.254.169.254/", ["prompt.created"]))
    tried = client.test_webhook(made.webhook_id)
    assert (tried.success, tried.response_status, tried.response_body) == (True, 200, "ok")
    client.create_registered_model("told", description="of it")


if __name__ == "__main__":
    play()
