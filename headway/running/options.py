"""How the steps of a run are executed, and the executor that does so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from headway.client.client import Client
from headway.client.session import ClientSession
from headway.engines.execution.crew import Crew, StepWorker
from headway.engines.execution.parallel import Echo, ParallelExecutor
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


def executor(execution: Execution, line: Line) -> LocalExecutor:
    """The executor that `execution` asks for."""
    if execution.where is Where.IN_PROCESS:
        return LocalExecutor(line.session, SystemClock(), line.folder, line.report, goes_on_from=line.goes_on_from)
    if execution.where is Where.RAY:
        from headway.running.ray import ray_places  # noqa: PLC0415

        places = ray_places(execution.address, line.client, line.run, line.folder)
        slots = execution.workers or places.slots
        return _parallel(line, lambda: places, slots, [str(each) for each in range(places.gpus)])
    crew = LocalPlaces(Crew(COMMAND, opening(line), relayed(line.client), {**os.environ, **execution.env}))
    return _parallel(line, lambda: crew, execution.slots, gpus_here())


def _parallel(line: Line, places: Callable[[], LocalPlaces], slots: int, gpus: list[str]) -> ParallelExecutor:
    return ParallelExecutor(
        line.session, SystemClock(), line.folder, places, workers=slots, gpus=gpus, report=line.report,
        echo=line.echo, goes_on_from=line.goes_on_from, begun=line.begun,
    )  # fmt: skip


class LocalPlaces:
    """Worker processes of this machine."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def place(self, limits: StepLimits) -> StepWorker:
        return StepWorker(self._crew)

    def stop(self) -> None:
        self._crew.stop()

    def close(self) -> None:
        self._crew.close()


def opening(line: Line) -> Opening:
    """What a fork server is told: among it the project's modules that are imported here, in the order they were."""
    own = [
        name for name, module in list(sys.modules.items())
        if name not in ("__main__", MAIN) and belongs(line.folder, getattr(module, "__file__", None) or "")
    ]  # fmt: skip
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    uses_main = getattr(line.pipeline.function, "__module__", "") == "__main__"
    return Opening(
        run=encode(line.run),
        url=line.client.url,
        folder=str(line.folder.resolve()),
        paths=tuple(sys.path),
        modules=tuple(own),
        main=str(Path(main).resolve()) if uses_main and main else "",
        spools=str(line.client.spools or ""),
    )


def gpus_here() -> list[str]:
    """Names of the GPUs that may be used: those of CUDA_VISIBLE_DEVICES, else those that the driver knows."""
    named = os.environ.get(GPUS)
    if named is not None:
        return [each for each in named.split(",") if each and each != "-1"]
    cards = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number in range(len(list(cards.iterdir())))] if cards.is_dir() else []
