"""The executor of a run's steps, and the places where it has them carried out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headway.client.client import Client
from headway.engines.execution.crew import Crew, StepWorker, StopSignal
from headway.engines.execution.gpus import gpus_here
from headway.engines.execution.parallel import ParallelExecutor
from headway.engines.execution.places import Echo, Places
from headway.engines.execution.wire import Opening
from headway.engines.pipelines.executor import Explain, LocalExecutor, Report
from headway.engines.pipelines.files import FileDigests
from headway.engines.pipelines.objects import MAIN
from headway.engines.pipelines.sources import belongs
from headway.kernel.clock import SystemClock
from headway.kernel.records import encode
from headway.lifecycle.runs.limits import StepLimits
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Run
from headway.lifecycle.runs.session import Session
from headway.running.relay import relayed
from headway.running.step_worker import COMMAND
from headway.running.where import Execution, Where


@dataclass(frozen=True)
class Line:
    """What an executor works for: a run, on a client, of a pipeline of the project in `folder`."""

    client: Client
    run: Run
    session: Session
    pipeline: Pipeline
    folder: Path
    report: Report
    echo: Echo
    goes_on_from: str = ""
    begun: Callable[[], None] = lambda: None
    shared: Shared | None = None
    """Where its steps and those of other runs are carried out."""
    force: Collection[str] = ()
    explain: Explain | None = None


class Shared(Protocol):
    """Where several runs have their steps carried out."""

    def places(self, run: Run) -> Places: ...
    def close(self) -> None: ...


def executor(execution: Execution, line: Line) -> LocalExecutor:
    """The executor that `execution` asks for."""
    if execution.where is Where.IN_PROCESS:
        return LocalExecutor(
            line.session, SystemClock(), line.folder, line.report, goes_on_from=line.goes_on_from, force=line.force,
            explain=line.explain, files=files_of(line.client, line.folder),
        )  # fmt: skip
    if line.shared is not None:
        places = line.shared.places(line.run)
        return _parallel(line, lambda: places, 1, [], encode(line.run))
    if execution.where is Where.RAY:
        from headway.running.ray import Cluster, RayPlaces  # noqa: PLC0415

        cluster = Cluster(execution.address, line.client, line.folder, execution.workers)
        gpus = [str(number) for number in range(cluster.gpus)]
        return _parallel(line, lambda: RayPlaces(cluster, line.run), execution.workers or cluster.cpus, gpus)
    places = workers_of(execution, line.client, line.run, line.pipeline, line.folder)
    return _parallel(line, lambda: places, execution.slots, gpus_here())


def workers_of(execution: Execution, client: Client, run: Run, pipeline: Pipeline, folder: Path) -> LocalPlaces:
    """Worker processes for one run; none is started before the first step asks for one."""
    return LocalPlaces(_crew(execution, client, run, pipeline, folder))


def files_of(client: Client, folder: Path) -> FileDigests:
    """What is known of the project's files, kept in the home of the client if it has one."""
    return FileDigests(folder.resolve(), client.folder / "files.json" if client.folder else None)


def shared(execution: Execution, client: Client, run: Run, pipeline: Pipeline, folder: Path) -> Shared | None:
    """What the runs inside `run` share; None for those in this process."""
    if execution.where is Where.IN_PROCESS:
        return None
    if execution.where is Where.RAY:
        from headway.running.ray import Cluster  # noqa: PLC0415

        return Cluster(execution.address, client, folder, execution.workers)
    return SharedCrew(_crew(execution, client, run, pipeline, folder))


def _crew(execution: Execution, client: Client, run: Run, pipeline: Pipeline, folder: Path) -> Crew:
    told = opening_of(client, run, pipeline, folder)
    return Crew(COMMAND, told, relayed(client), {**os.environ, **execution.env})


class SharedCrew:
    """Worker processes of this machine that serve several runs."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def places(self, run: Run) -> LocalPlaces:
        return LocalPlaces(self._crew, shared=True)

    def close(self) -> None:
        self._crew.close()


def _parallel(
    line: Line, places: Callable[[], Places], slots: int, gpus: list[str], run: bytes = b""
) -> ParallelExecutor:
    return ParallelExecutor(
        line.session, SystemClock(), line.folder, places, workers=slots, gpus=gpus, report=line.report,
        echo=line.echo, goes_on_from=line.goes_on_from, begun=line.begun, run=run, force=line.force,
        explain=line.explain, files=files_of(line.client, line.folder),
    )  # fmt: skip


class LocalPlaces:
    """Worker processes of this machine. A crew that is `shared` goes on when these places are closed."""

    def __init__(self, crew: Crew, *, shared: bool = False) -> None:
        self._crew, self._shared, self._stop = crew, shared, StopSignal()

    def place(self, limits: StepLimits) -> StepWorker:
        return StepWorker(self._crew, self._stop)

    def stop(self) -> None:
        self._stop.send()

    def close(self) -> None:
        self._stop.close()
        if not self._shared:
            self._crew.close()


def opening_of(client: Client, run: Run, pipeline: Pipeline, folder: Path) -> Opening:
    """What a fork server is told: among it the project's modules that are imported here, in the order they were."""
    own = [
        name for name, module in list(sys.modules.items())
        if name not in ("__main__", MAIN) and belongs(folder, getattr(module, "__file__", None) or "")
    ]  # fmt: skip
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    uses_main = getattr(pipeline.function, "__module__", "") == "__main__"
    return Opening(
        run=encode(run),
        url=client.url,
        folder=str(folder.resolve()),
        paths=tuple(sys.path),
        modules=tuple(own),
        main=str(Path(main).resolve()) if uses_main and main else "",
        spools=str(client.spools or ""),
    )
