"""Pipelines as they ran, and the results of their steps by key."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.errors import NotFound
from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.runs.records import Code, KeyParts, LastResult, Output, Pipeline, PipelineNode, StepResult
from headway.server.routing import App, By, get, post, put


class RecordPipeline(Value):
    name: str
    nodes: tuple[PipelineNode, ...]
    code: Code = Code()


class KeepResult(Value):
    step: str
    run: str
    outputs: tuple[Output, ...]
    made_of: KeyParts | None = None


@get("/v1/pipelines")
def pipelines(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[Pipeline]:
    """All pipelines as they ran."""
    return app.platform.pipelines.list(limit=limit, before=before)


@post("/v1/pipelines")
def record(data: JSONBody[RecordPipeline], app: App, by: By) -> Pipeline:
    """Remember the graph of a pipeline; the same graph again is the same record."""
    return app.platform.pipelines.record(data.name, data.nodes, data.code, by=by)


@get("/v1/pipelines/results/{key:str}")
def result(key: FromPath[str], app: App) -> StepResult:
    """What the step with this key gave, if all of it is still kept."""
    found = app.platform.pipelines.result(key)
    if found is None:
        raise NotFound(f"no step with the key {key[:80]!r} has a result; run it")
    return found


@put("/v1/pipelines/results/{key:str}")
def keep(key: FromPath[str], data: JSONBody[KeepResult], app: App, by: By) -> StepResult:
    """Remember what the step with this key gave."""
    return app.platform.pipelines.keep(key, data.step, data.run, data.outputs, data.made_of, by=by)


@get("/v1/pipelines/{name:str}/results")
def last_results(name: FromPath[str], app: App) -> list[LastResult]:
    """What each step of a pipeline gave when it last ran, or was found."""
    return app.platform.pipelines.last_results(name)


ROUTES = (pipelines, record, result, keep, last_results)
