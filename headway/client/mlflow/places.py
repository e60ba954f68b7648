"""Where things of a source are here: ids follow from theirs, and files keep their names below new roots."""

from __future__ import annotations

from headway.client.mlflow.source import Source, Told
from headway.client.mlflow.translate import folder_in, moment, started_at
from headway.lifecycle.runs.imported import imported_model_id, imported_run_id

_DEFAULT = "Default"


class Places:
    """Knows the runs and logged models that were looked at; others are asked for, and count only if their experiment
    is taken too."""

    def __init__(self, source: Source, *, deleted: bool) -> None:
        self._source, self._deleted = source, deleted
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, tuple[str, str]] = {}
        self._models: dict[str, tuple[str, str]] = {}

    def add_experiment(self, told: Told, identifier: str) -> str:
        """`identifier` is ours; returns the one that MLflow's clients know the experiment by here."""
        shown = "0" if told["name"] == _DEFAULT else identifier
        self._experiments[str(told["experiment_id"])] = shown
        return shown

    def add_run(self, told: Told) -> None:
        info = told["info"]
        self._runs[info["run_id"]] = imported_run_id(info["run_id"], started_at(told)), str(info["experiment_id"])

    def add_model(self, told: Told) -> None:
        info = told["info"]
        ours = imported_model_id(info["model_id"], moment(info.get("creation_timestamp_ms")))
        self._models[info["model_id"]] = ours, str(info["experiment_id"])

    def run(self, identifier: str) -> str:
        """Our id of a run, or an empty string when it is not taken."""
        if identifier not in self._runs:
            self._runs[identifier] = "", ""
            told = self._source.run(identifier)
            if told is not None and self._is_taken(told["info"]):
                self.add_run(told)
        return self._runs[identifier][0]

    def _is_taken(self, info: Told) -> bool:
        active = self._deleted or info.get("lifecycle_stage") != "deleted"
        return active and str(info["experiment_id"]) in self._experiments

    def model(self, identifier: str) -> str:
        """Our id of a logged model, or an empty string."""
        return self._models.get(identifier, ("", ""))[0]

    def of_version(self, told: Told) -> tuple[str, str, str]:
        """The source of a registered version here, its run and its logged model; the source is the one it has there
        when its files are in no run and no logged model that was taken."""
        source, run, model = (told.get(name) or "" for name in ("source", "run_id", "model_id"))
        if source.startswith("models:/m-"):
            model = model or source.removeprefix("models:/")
        run_here, model_here = self.run(run) if run else "", self.model(model)
        if model_here:
            shown = self._experiments[self._models[model][1]]
            name = f"m-{model_here.removeprefix('lm_')}"
            return f"mlflow-artifacts:/{shown}/models/{name}/artifacts", run_here, model_here
        folder = folder_in(source, run) if run_here else None
        if folder is None:
            return source or "unknown", run_here, ""
        shown = self._experiments[self._runs[run][1]]
        return f"mlflow-artifacts:/{shown}/{run_here}/artifacts/{folder}".rstrip("/"), run_here, ""
