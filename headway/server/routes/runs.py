"""Runs: what is executed, and how far it is."""

from __future__ import annotations

from typing import Annotated

from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from headway.kernel.access import Permission
from headway.kernel.leases import Lease
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.runs.records import Artifact, Experiment, Run, RunState, StartRun, StepLog, StepRun
from headway.lifecycle.runs.search import CountRuns, RunCount, SearchRuns
from headway.server.routing import App, By, get, post


class MoveRun(Value):
    state: RunState
    error: str = ""
    token: int | None = None
    """Of the lease that the worker holds: a late worker is refused."""


class ClaimRun(Value):
    holder: str


class Steps(Value):
    steps: tuple[StepRun, ...]


class NoteRead(Value):
    """The id of a dataset version."""

    version: str


class AddLog(Value):
    step: str
    text: str


class AddArtifact(Value):
    name: str
    blob: str
    media_type: str = ""


@post("/v1/runs")
def start(data: JSONBody[StartRun], app: App, by: By) -> Run:
    """Create a run; with a change, the run that this change has already is the answer."""
    return app.platform.runs.start(data, by=by)


@get("/v1/runs")
def runs(
    app: App,
    experiment: FromQuery[str | None] = None,
    parent: FromQuery[str | None] = None,
    change: FromQuery[str | None] = None,
    run_state: Annotated[RunState | None, QueryParameter(name="state")] = None,
    limit: FromQuery[int] = 100,
    before: FromQuery[str | None] = None,
) -> Page[Run]:
    """Runs; an empty `parent` asks for those that are inside no other."""
    return app.platform.runs.list(
        experiment=experiment, parent=parent, change=change, state=run_state, limit=limit, before=before
    )


@post("/v1/runs/search", status_code=200)
def search(data: JSONBody[SearchRuns], app: App) -> Page[Run]:
    """A page of the runs for which a filter holds, in the order asked for; none of `experiments` asks for all."""
    return app.platform.runs.search(data)


@post("/v1/runs/count", status_code=200)
def count(data: JSONBody[CountRuns], app: App) -> RunCount:
    """How many runs a filter holds for."""
    return app.platform.runs.count(data)


@post("/v1/runs/{identifier:str}/delete", status_code=200)
def delete(identifier: FromPath[str], app: App, by: By) -> Run:
    """Put a run aside; it can be restored."""
    return app.platform.runs.delete(identifier, by=by)


@post("/v1/runs/{identifier:str}/resume", status_code=200)
def resume(identifier: FromPath[str], app: App, by: By) -> Run:
    """Let a run that is over go on, unless it is one of a pipeline or a change."""
    return app.platform.runs.resume(identifier, by=by)


@post("/v1/runs/{identifier:str}/restore", status_code=200)
def restore(identifier: FromPath[str], app: App, by: By) -> Run:
    """Bring a run back that was put aside."""
    return app.platform.runs.restore(identifier, by=by)


@get("/v1/experiments/{reference:str}")
def experiment(reference: FromPath[str], app: App) -> Experiment:
    """One experiment, by id or by name."""
    return app.platform.experiments.find(reference)


@post("/v1/experiments/{reference:str}/delete", status_code=200)
def delete_experiment(reference: FromPath[str], app: App, by: By) -> Experiment:
    """Put an experiment and its runs aside; it can be restored."""
    return app.platform.experiments.delete(app.platform.experiments.find(reference).id, by=by)


@post("/v1/experiments/{reference:str}/restore", status_code=200)
def restore_experiment(reference: FromPath[str], app: App, by: By) -> Experiment:
    """Bring an experiment back that was put aside."""
    return app.platform.experiments.restore(app.platform.experiments.find(reference).id, by=by)


@get("/v1/experiments")
def experiments(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[Experiment]:
    """All experiments."""
    return app.platform.runs.experiments(limit=limit, before=before)


@get("/v1/runs/{identifier:str}")
def run(identifier: FromPath[str], app: App) -> Run:
    """One run."""
    return app.platform.runs.get(identifier)


@post("/v1/runs/{identifier:str}/move", status_code=200)
def move(identifier: FromPath[str], data: JSONBody[MoveRun], app: App, by: By) -> Run:
    """Move a run to another state."""
    return app.platform.runs.move(identifier, data.state, by=by, error=data.error, token=data.token)


@post("/v1/runs/{identifier:str}/claim", status_code=200)
def claim(identifier: FromPath[str], data: JSONBody[ClaimRun], app: App, by: By) -> Lease:
    """Take or prolong the lease on a run, for a worker."""
    by.must(Permission.WRITE)
    return app.platform.runs.claim(identifier, data.holder)


@get("/v1/runs/{identifier:str}/steps")
def steps(identifier: FromPath[str], app: App) -> Steps:
    """How far the steps of a run are."""
    return Steps(steps=tuple(app.platform.runs.steps(identifier)))


@post("/v1/runs/{identifier:str}/steps", status_code=200)
def progress(identifier: FromPath[str], data: JSONBody[Steps], app: App, by: By) -> Steps:
    """Tell how far the steps of a run are."""
    app.platform.runs.progress(identifier, data.steps, by=by)
    return data


@post("/v1/runs/{identifier:str}/logs")
def add_log(identifier: FromPath[str], data: JSONBody[AddLog], app: App, by: By) -> StepLog:
    """Append a part of what a step printed."""
    return app.platform.runs.add_log(identifier, data.step, data.text, by=by)


@get("/v1/runs/{identifier:str}/logs")
def logs(
    identifier: FromPath[str], app: App, step: FromQuery[str | None] = None, after: FromQuery[int] = 0,
    limit: FromQuery[int] = 100,
) -> list[StepLog]:  # fmt: skip
    """What steps printed, in parts; those behind the number `after`."""
    return list(app.platform.runs.logs(identifier, step=step, after=after, limit=limit))


@post("/v1/runs/{identifier:str}/artifacts")
def add_artifact(identifier: FromPath[str], data: JSONBody[AddArtifact], app: App, by: By) -> Artifact:
    """Name a blob as an output of a run; the same name again replaces."""
    return app.platform.runs.add_artifact(identifier, data.name, data.blob, by=by, media_type=data.media_type)


@get("/v1/runs/{identifier:str}/artifacts")
def artifacts(identifier: FromPath[str], app: App) -> list[Artifact]:
    """The outputs of a run."""
    return list(app.platform.runs.artifacts(identifier))


@post("/v1/runs/{identifier:str}/reads", status_code=200)
def note_read(identifier: FromPath[str], data: JSONBody[NoteRead], app: App, by: By) -> Run:
    """Note that a run has read a dataset version, so that what it makes is known to have come from there."""
    return app.platform.origins.note_read(identifier, data.version, by=by)


ROUTES = (
    start, runs, search, count, experiments, experiment, delete_experiment, restore_experiment, run, delete, restore,
    resume, move, claim, steps, progress, add_log, logs, add_artifact, artifacts, note_read,
)  # fmt: skip
