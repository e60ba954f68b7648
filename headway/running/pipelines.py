"""Runs of pipelines, begun here or gone on with: the handle, the executor and the heart, put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from headway.client.active import ACTIVE
from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.run import Run
from headway.client.shipping import ship
from headway.client.spool import left_behind
from headway.engines.execution.parallel import ParallelExecutor
from headway.engines.execution.places import Echo
from headway.engines.pipelines.delayed import DelayedProgress
from headway.engines.pipelines.executor import Explain, LocalExecutor, Report, silent
from headway.errors import Conflict
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Code, RunState
from headway.lifecycle.runs.records import Run as Record
from headway.lifecycle.runs.results import resolved
from headway.running.exporter import OnnxExporter
from headway.running.heart import Heart, await_release
from headway.running.options import Line, Shared, executor
from headway.running.recipe import GOES_ON, RECIPE
from headway.running.where import Execution, Where


def quiet(step: str, text: str) -> None:
    """Shows nothing of what steps print."""


def carry_out(
    handle: Run, pipeline: Pipeline, params: Mapping[str, Any], folder: Path, code: Code, execution: Execution, *,
    report: Report = silent, echo: Echo = quiet, heart: bool | None = None, shared: Shared | None = None,
    force: Collection[str] = (), explain: Explain | None = None,
) -> Any:  # fmt: skip
    """What the pipeline gives, a handle or what it made of handles. With a `heart`, by default where others can go
    on with the run or cancel it, the run is held while its steps run, and stops when it is cancelled."""
    client, run = handle.client, handle.record
    beat = Heart(client, run.id, lambda: _stop(works))

    def begun() -> None:
        if (RECIPE in run.tags or execution.where is not Where.IN_PROCESS) if heart is None else heart:
            beat.start()

    goes_on = run.tags.get(GOES_ON) or (run.id if run.change else "")
    outer = ACTIVE.set(handle)
    try:
        with DelayedProgress(client.session(run.id, run.pipeline or pipeline.name, code)) as session:
            line = Line(
                client, run, session, pipeline, folder, report, echo, goes_on, begun, shared, force, explain
            )  # fmt: skip
            works = executor(execution, line)
            if not isinstance(works, ParallelExecutor):
                begun()
            return works.run(pipeline, params)
    finally:
        ACTIVE.reset(outer)
        beat.stop()
        bring_in(client, run.id)


def _stop(works: LocalExecutor) -> None:
    if isinstance(works, ParallelExecutor):
        works.stop()


def bring_in(client: Client, run: str) -> None:
    """What workers have logged and not sent before they were ended."""
    for path in left_behind(client.spools) if client.spools else ():
        if path.name.startswith(f"{run}-"):
            ship(path, client.runs, client.url)


def run_pipeline(
    client: Client, pipeline: Pipeline, params: Mapping[str, Any], *, folder: Path, code: Code, capture: Capture,
    execution: Execution, report: Report = silent, echo: Echo = quiet, tags: Mapping[str, str] | None = None,
    parent: str = "", began: Callable[[str], None] = lambda run: None, force: Collection[str] = (),
    explain: Explain | None = None,
) -> tuple[str, Any]:  # fmt: skip
    """Run it as a run of its own; gives the run's id and plain values. `params` are those of the function, whole."""
    handle = begin(client, pipeline, params, code, capture, tags=tags, parent=parent)
    began(handle.id)
    with handle:
        made = carry_out(
            handle, pipeline, params, folder, code, execution, report=report, echo=echo, force=force, explain=explain
        )
        return handle.id, resolved(made)


def begin(
    client: Client, pipeline: Pipeline, params: Mapping[str, Any], code: Code, capture: Capture, *,
    tags: Mapping[str, str] | None = None, parent: str = "",
) -> Run:  # fmt: skip
    """The handle on a new run of a pipeline."""
    return client.start_run(
        pipeline.name, OnnxExporter(client), name=pipeline.name, pipeline=pipeline.name, params=params, code=code,
        capture=capture, tags=tags, parent=parent,
    )  # fmt: skip


def resume_pipeline(
    client: Client, identifier: str, pipeline: Pipeline, params: Mapping[str, Any], *, folder: Path, code: Code,
    capture: Capture, execution: Execution, report: Report = silent, echo: Echo = quiet, force: Collection[str] = (),
) -> tuple[str, Any]:  # fmt: skip
    """Go on with a run whose process is gone, as that run; with one that failed or was cancelled, as a new run that
    goes on from it. What was finished is not run again.

    Raises `Conflict` for a run that is finished, `LeaseLost` for one that another process works at.
    """
    record = client.runs.get(identifier)
    if record.state is RunState.FINISHED:
        raise Conflict(f"run {identifier} is finished; there is nothing to go on with")
    first = record.tags.get(GOES_ON) or record.id
    if record.over:
        tags = {key: value for key, value in record.tags.items() if key == RECIPE} | {GOES_ON: first}
        return run_pipeline(
            client, pipeline, params, folder=folder, code=code, capture=capture, execution=execution, report=report,
            echo=echo, tags=tags, parent=record.parent, force=force,
        )  # fmt: skip
    await_release(client, record.id)
    client.runs.texts(record.id, {}, {GOES_ON: first})
    with client.resume(record.id, OnnxExporter(client), capture=capture) as handle:
        made = carry_out(
            handle, pipeline, params, folder, code, execution, report=report, echo=echo, force=force
        )  # fmt: skip
        return handle.id, resolved(made)


def cancel(client: Client, identifier: str) -> Record:
    """Cancel a run: its process ends what it is at within seconds. One that is over stays as it is.

    Raises `Conflict` for a run that is over otherwise.
    """
    record = client.runs.get(identifier)
    if record.over and record.state is not RunState.CANCELLED:
        raise Conflict(f"run {identifier} is {record.state} already")
    return client.runs.move(identifier, RunState.CANCELLED, error="cancelled")
