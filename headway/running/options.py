"""How the steps of a run are executed, and the executor that does so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from headway.client.client import Client
from headway.client.session import ClientSession
from headway.engines.execution.crew import Crew, StepWorker, StopSignal
from headway.engines.execution.parallel import Echo, ParallelExecutor, Places
from headway.engines.execution.parcels import MAIN
from headway.engines.execution.stepper import GPUS
from headway.engines.execution.wire import Opening
from headway.engines.pipelines.executor import LocalExecutor, Report
from headway.engines.pipelines.sources import belongs
from headway.errors import Invalid
from headway.kernel.clock import SystemClock
from headway.kernel.records import encode
from headway.lifecycle.runs.limits import StepLimits
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Run
from headway.running.relay import relayed
from headway.running.step_worker import COMMAND


class Where(StrEnum):
    """Where steps run."""

    IN_PROCESS = "in-process"
    WORKERS = "workers"
    RAY = "ray"


@dataclass(frozen=True)
class Execution:
    """`workers` is how many steps run at once, by default as many as there are cores; `address` is that of a Ray
    cluster. `env` are settings for the workers' processes."""

    where: Where = Where.IN_PROCESS
    workers: int = 0
    address: str = ""
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise Invalid(f"workers must not be negative, and {self.workers} is")
        if self.address and self.where is not Where.RAY:
            raise Invalid("an address is for the executor ray alone")

    @property
    def slots(self) -> int:
        if self.workers:
            return self.workers
        return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def checked_where(text: str) -> Where:
    """Raises `Invalid` for what is no executor."""
    try:
        return Where(text)
    except ValueError:
        raise Invalid(f"executor is one of {', '.join(Where)}, not {text!r}") from None


@dataclass(frozen=True)
class Line:
    """What an executor works for: a run, on a client, of a pipeline of the project in `folder`."""

    client: Client
    run: Run
    session: ClientSession
    pipeline: Pipeline
    folder: Path
    report: Report
    echo: Echo
    goes_on_from: str = ""
    begun: Callable[[], None] = lambda: None
    shared: Shared | None = None
    """Where its steps and those of other runs are carried out."""


class Shared(Protocol):
    """Where several runs have their steps carried out."""

    def places(self, run: Run) -> Places: ...
    def close(self) -> None: ...


def executor(execution: Execution, line: Line) -> LocalExecutor:
    """The executor that `execution` asks for."""
    if execution.where is Where.IN_PROCESS:
        return LocalExecutor(line.session, SystemClock(), line.folder, line.report, goes_on_from=line.goes_on_from)
    if line.shared is not None:
        places = line.shared.places(line.run)
        return _parallel(line, lambda: places, 1, [], encode(line.run))
    if execution.where is Where.RAY:
        from headway.running.ray import Cluster, RayPlaces  # noqa: PLC0415

        cluster = Cluster(execution.address, line.client, line.folder, execution.workers)
        gpus = [str(number) for number in range(cluster.gpus)]
        return _parallel(line, lambda: RayPlaces(cluster, line.run), execution.workers or cluster.cpus, gpus)
    crew = _crew(execution, line.client, line.run, line.pipeline, line.folder)
    return _parallel(line, lambda: LocalPlaces(crew), execution.slots, gpus_here())


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
        echo=line.echo, goes_on_from=line.goes_on_from, begun=line.begun, run=run,
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


def gpus_here() -> list[str]:
    """Names of the GPUs that may be used: those of CUDA_VISIBLE_DEVICES, else those that the driver knows."""
    named = os.environ.get(GPUS)
    if named is not None:
        return [each for each in named.split(",") if each and each != "-1"]
    cards = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number in range(len(list(cards.iterdir())))] if cards.is_dir() else []
