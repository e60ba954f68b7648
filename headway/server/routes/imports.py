"""What another tracker knows, handed in by who has read it: this server asks no other."""

from __future__ import annotations

from litestar.params import JSONBody

from headway.kernel.records import Value
from headway.lifecycle.models.imported import BroughtModel, ImportedModel
from headway.lifecycle.runs.imported import (
    Brought,
    ImportedArtifact,
    ImportedExperiment,
    ImportedLoggedModel,
    ImportedRun,
    ImportedTrace,
)
from headway.lifecycle.runs.records import Experiment
from headway.server.routes.metrics import AddPoints, Columns, Written, logged_points
from headway.server.routing import App, By, post


class BringExperiment(Value):
    """`source`, in each of these, is the address it was read from; it stands in the ledger."""

    source: str
    experiment: ImportedExperiment


class BringRuns(Value):
    source: str
    runs: tuple[ImportedRun, ...]
    settled: bool
    """False to begin them, true once their points and files are here."""


class BringPoints(Value):
    """Points by run and metric."""

    source: str
    runs: dict[str, dict[str, Columns]]


class BringArtifacts(Value):
    source: str
    artifacts: tuple[ImportedArtifact, ...]


class BringLoggedModels(Value):
    source: str
    logged_models: tuple[ImportedLoggedModel, ...]
    settled: bool


class BringTraces(Value):
    source: str
    traces: tuple[ImportedTrace, ...]


class BringModel(Value):
    source: str
    model: ImportedModel


@post("/v1/import/experiment", status_code=200)
def experiment(data: JSONBody[BringExperiment], app: App, by: By) -> Experiment:
    """Take over an experiment: its tags, and whether it is deleted."""
    return app.platform.run_imports.experiment(data.experiment, data.source, by=by)


@post("/v1/import/runs", status_code=200)
def runs(data: JSONBody[BringRuns], app: App, by: By) -> list[Brought]:
    """Begin to take over runs, or settle them; ids follow from those at the source."""
    imports = app.platform.run_imports
    return (imports.settle_runs if data.settled else imports.begin_runs)(data.runs, data.source, by=by)


@post("/v1/import/points", status_code=200)
def points(data: JSONBody[BringPoints], app: App, by: By) -> Written:
    """Add metric points to runs that were begun; those that they have are kept once."""
    logged = [logged_points(run, AddPoints(curves=curves, late=True), by) for run, curves in data.runs.items()]
    refused = [error for error in app.platform.metrics.add_all(logged) if error] if logged else []
    if refused:
        raise refused[0]
    return Written(points=sum(len(curve) for each in logged for curve in each.curves.values()))


@post("/v1/import/artifacts", status_code=200)
def artifacts(data: JSONBody[BringArtifacts], app: App, by: By) -> list[str]:
    """Name blobs as files of runs, logged models or traces that were taken over; the answer has their digests."""
    app.platform.run_imports.artifacts(data.artifacts, data.source, by=by)
    return [each.blob for each in data.artifacts]


@post("/v1/import/logged-models", status_code=200)
def logged_models(data: JSONBody[BringLoggedModels], app: App, by: By) -> list[Brought]:
    """Begin to take over logged models, or settle them."""
    imports = app.platform.run_imports
    take = imports.settle_models if data.settled else imports.begin_models
    return take(data.logged_models, data.source, by=by)


@post("/v1/import/traces", status_code=200)
def traces(data: JSONBody[BringTraces], app: App, by: By) -> list[Brought]:
    """Take over traces; their spans follow as artifacts."""
    return app.platform.run_imports.traces(data.traces, data.source, by=by)


@post("/v1/import/model", status_code=200)
def model(data: JSONBody[BringModel], app: App, by: By) -> BroughtModel:
    """Take over a registered model with its versions, under the numbers they have there."""
    return app.platform.model_imports.model(data.model, data.source, by=by)


ROUTES = (experiment, runs, points, artifacts, logged_models, traces, model)
