"""Every public method of MlflowClient is called: at the end stands which ones worked, as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from chapters import chapter, play
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, LoggedModelOutput, Metric, Param, RunTag

WORKED: set[str] = set()


class Recording:
    """A client that writes down which of its methods came back."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._client, name)

        def recorded(*arguments: object, **named: object) -> object:
            answer = method(*arguments, **named)
            WORKED.add(name)
            return answer

        return recorded


def experiments_and_runs(client: MlflowClient) -> str:
    experiment = client.create_experiment("methods")
    client.set_experiment_tag(experiment, "a", "1")
    client.delete_experiment_tag(experiment, "a")
    client.rename_experiment(experiment, "methods renamed")
    client.delete_experiment(experiment)
    client.restore_experiment(experiment)
    assert client.get_experiment(experiment).name == "methods renamed"
    assert client.get_experiment_by_name("methods renamed").tags == {}
    assert [found.name for found in client.search_experiments(filter_string="name LIKE 'methods%'")]
    run = client.create_run(experiment, run_name="one").info.run_id
    child = client.create_run(experiment, tags={"mlflow.parentRunId": run}).info.run_id
    assert client.get_parent_run(child).info.run_id == run
    client.log_param(run, "p", 1)
    client.log_metric(run, "m", 0.5, step=1)
    client.log_batch(run, [Metric("m", 0.6, 2, 2)], [Param("q", "2")], [RunTag("t", "x")])
    client.set_tag(run, "u", "y")
    client.delete_tag(run, "u")
    data = DatasetInput(Dataset(name="d", digest="1", source_type="local", source="{}"))
    client.log_inputs(run, [data])
    client.update_run(run, status="RUNNING", name="renamed")
    client.set_terminated(run)
    client.delete_run(child)
    client.restore_run(child)
    assert [metric.value for metric in client.get_metric_history(run, "m")] == [0.5, 0.6]
    found = client.get_run(run)
    assert (found.info.run_name, found.data.params, found.inputs.dataset_inputs[0].dataset.name) == (
        "renamed", {"p": "1", "q": "2"}, "d",
    )  # fmt: skip
    assert len(client.search_runs([experiment], "metrics.m > 0.5")) == 1
    return run


def files(client: MlflowClient, run: str) -> None:
    Path("folder").mkdir(exist_ok=True)
    Path("folder", "a.txt").write_text("a")
    client.log_artifact(run, "folder/a.txt", "one")
    client.log_artifacts(run, "folder", "many")
    client.log_dict(run, {"a": 1}, "dict.json")
    client.log_text(run, "text", "text.txt")
    client.log_stream(run, io.BytesIO(b"stream"), "stream.bin")
    client.log_table(run, {"a": [1, 2]}, "table.json")
    client.log_image(run, np.zeros((2, 2, 3), dtype=np.uint8), "image.png")
    assert client.load_table(client.get_run(run).info.experiment_id, "table.json", [run])["a"].tolist() == [1, 2]
    assert Path(client.download_artifacts(run, "stream.bin")).read_bytes() == b"stream"
    assert [file.path for file in client.list_artifacts(run, "many")] == ["many/a.txt"]


def logged_models(client: MlflowClient, run: str) -> str:
    experiment = client.get_run(run).info.experiment_id
    model = client.create_logged_model(experiment, "model", run, {"a": "1"}, {"p": "1"}, "kind").model_id
    client.log_model_params(model, {"q": "2"})
    client.set_logged_model_tags(model, {"b": "2"})
    client.delete_logged_model_tag(model, "a")
    client.log_model_artifact(model, "folder/a.txt")
    client.log_model_artifacts(model, "folder", "deep")
    client.finalize_logged_model(model, "READY")
    client.log_outputs(run, [LoggedModelOutput(model, 3)])
    assert {file.path for file in client.list_logged_model_artifacts(model)} == {"a.txt", "deep"}
    found = client.get_logged_model(model)
    assert (found.params, found.tags, str(found.status)) == ({"p": "1", "q": "2"}, {"b": "2"}, "READY")
    assert len(client.search_logged_models([experiment], "params.q = '2'")) == 1
    gone = client.create_logged_model(experiment, "gone").model_id
    client.delete_logged_model(gone)
    return model


def registry(client: MlflowClient, run: str, model: str) -> None:
    client.create_registered_model("methods", {"a": "1"}, "about")
    client.update_registered_model("methods", "new")
    client.set_registered_model_tag("methods", "b", "2")
    client.delete_registered_model_tag("methods", "a")
    source = f"{client.get_run(run).info.artifact_uri}/one"
    client.create_model_version("methods", source, run)
    client.update_model_version("methods", "1", "about it")
    client.set_model_version_tag("methods", "1", "c", "3")
    client.delete_model_version_tag("methods", "1", "c")
    client.transition_model_version_stage("methods", "1", "Production")
    client.set_registered_model_alias("methods", "best", "1")
    assert client.get_model_version_by_alias("methods", "best").aliases == ["best"]
    assert client.get_model_version_by_alias("methods", "latest").version == "1"
    assert client.get_model_version("methods", "1").description == "about it"
    assert client.get_model_version_download_uri("methods", "1") == source
    assert "Staging" in client.get_model_version_stages("methods", "1")
    assert client.get_latest_versions("methods", ["Production"])[0].version == "1"
    assert len(client.search_model_versions(f"run_id = '{run}'")) == 1
    assert client.get_registered_model("methods").tags == {"b": "2"}
    assert client.search_registered_models("tags.b = '2'")[0].description == "new"
    client.create_model_version("methods", f"models:/{model}", run, model_id=model)
    copied = client.copy_model_version("models:/methods/2", "copied")
    assert (copied.name, copied.version) == ("copied", "1")
    client.delete_registered_model_alias("methods", "best")
    client.delete_model_version("methods", "1")
    client.rename_registered_model("methods", "methods renamed")
    client.delete_registered_model("methods renamed")


def prompts(client: MlflowClient, run: str, model: str, trace: str) -> None:
    client.create_prompt("asked", "about", {"a": "1"})
    client.create_prompt_version("asked", "first {{ x }}")
    second = client.register_prompt("asked", "second {{ x }}")
    client.set_prompt_alias("asked", "best", 2)
    client.set_prompt_tag("asked", "b", "2")
    client.delete_prompt_tag("asked", "a")
    client.set_prompt_version_tag("asked", "1", "c", "3")
    client.delete_prompt_version_tag("asked", "1", "c")
    tags = client.get_prompt("asked").tags
    assert (tags["b"], tags.get("a")) == ("2", None), tags
    assert client.get_prompt_version("asked", "1").template == "first {{ x }}"
    assert client.get_prompt_version_by_alias("asked", "best").version == 2
    assert client.load_prompt("prompts:/asked/1").version == 1
    assert client.parse_prompt_uri("prompts:/asked/1") == ("asked", "1")
    assert len(client.search_prompt_versions("asked")) == 2
    assert [prompt.name for prompt in client.search_prompts()] == ["asked"]
    client.link_prompt_version_to_run(run, second)
    linked = json.loads(client.get_run(run).data.tags["mlflow.linkedPrompts"])
    assert [prompt["version"] for prompt in linked] == ["2"]
    client.list_logged_prompts(run)
    client.link_prompt_version_to_model("asked", "2", model)
    client.link_prompt_versions_to_trace([second], trace)
    client.delete_prompt_alias("asked", "best")
    for version in ("1", "2"):
        client.delete_prompt_version("asked", version)
    client.delete_prompt("asked")


def traces(client: MlflowClient, run: str) -> str:
    experiment = client.get_run(run).info.experiment_id
    root = client.start_trace("asked", inputs={"x": 1}, experiment_id=experiment)
    inner = client.start_span("inner", root.trace_id, root.span_id)
    client.end_span(root.trace_id, inner.span_id, outputs={"y": 2})
    client.end_trace(root.trace_id, outputs={"z": 3})
    mlflow.flush_trace_async_logging()
    assert [span.name for span in client.get_trace(root.trace_id, display=False).data.spans] == ["asked", "inner"]
    client.set_trace_tag(root.trace_id, "a", "1")
    client.delete_trace_tag(root.trace_id, "a")
    client.link_traces_to_run([root.trace_id], run)
    assert len(client.search_traces(locations=[experiment], run_id=run)) == 1
    return root.trace_id


def webhooks(client: Recording) -> None:
    """To a host that is none: what is told is told elsewhere."""
    made = client.create_webhook("methods", "https://hooks.invalid/", ["prompt.created"])
    assert client.get_webhook(made.webhook_id).name == "methods"
    assert client.update_webhook(made.webhook_id, description="of it").description == "of it"
    assert [each.name for each in client.list_webhooks()] == ["methods"]
    assert not client.test_webhook(made.webhook_id).success
    client.delete_webhook(made.webhook_id)


@chapter
def methods(client: MlflowClient) -> None:
    recording = Recording(client)
    run = experiments_and_runs(recording)
    files(recording, run)
    model = logged_models(recording, run)
    registry(recording, run, model)
    trace = traces(recording, run)
    prompts(recording, run, model, trace)
    webhooks(recording)
    experiment = client.get_run(run).info.experiment_id
    assert recording.delete_traces(experiment, trace_ids=[trace]) == 1
    assert isinstance(mlflow.search_runs([experiment]), pd.DataFrame)
    every = {name for name in vars(MlflowClient) if not name.startswith("_") and callable(getattr(MlflowClient, name))}
    print(json.dumps({"worked": sorted(WORKED), "others": sorted(every - WORKED)}))


if __name__ == "__main__":
    play()
