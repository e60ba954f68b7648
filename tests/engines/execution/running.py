"""Executors over a session in memory, with real workers or with none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from headway.engines.execution.crew import Crew, StepWorker
from headway.engines.execution.output import StepOutput
from headway.engines.execution.parallel import ParallelExecutor
from headway.engines.execution.perform import perform
from headway.engines.execution.wire import Answer, Ask, Call, Done, Failed, Opening
from headway.engines.pipelines.executor import LocalExecutor
from headway.kernel.clock import SystemClock
from headway.kernel.records import encode
from headway.lifecycle.runs.limits import StepLimits
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import Run
from headway.running.options import LocalPlaces
from headway.running.step_worker import COMMAND
from headway.testing.session import MemorySession

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent


class InlinePlaces:
    """Runs a step in the thread that asks."""

    def __init__(self, session: MemorySession) -> None:
        self._session = session

    def place(self, limits: StepLimits) -> InlinePlaces:
        return self

    def perform(self, call: Call, output: StepOutput, limits: StepLimits) -> Done | Failed:
        return perform(call, FOLDER, self._session.get_blob, self._session.put_blob)

    def stop(self) -> None: ...

    def close(self) -> None: ...


def crew_over(session: MemorySession) -> Crew:
    def serve(ask: Ask) -> Answer:
        assert ask.path.startswith("/v1/blobs/")
        blob = unquote(ask.path.removeprefix("/v1/blobs/"))
        if ask.method == "PUT":
            kept = encode({"digest": session.put_blob(ask.body), "size": len(ask.body)})
            return Answer(200, {"content-type": "application/json"}, kept)
        found = session.blobs.get(blob)
        return Answer(404 if found is None else 200, {}, found or b"{}")

    run = Run(id=session.run, created_at=SystemClock().now(), experiment="e")
    paths = (str(ROOT),)
    modules = ("tests.engines.execution.steps",)
    opening = Opening(encode(run), "http://localhost", str(FOLDER), (*paths, *sys.path), modules)
    return Crew(COMMAND, opening, serve, {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"})


class Runner:
    """Runs pipelines one after the other over one store."""

    def __init__(self) -> None:
        self.session = MemorySession()
        self.executor: LocalExecutor | None = None

    def next(self) -> MemorySession:
        self.session = MemorySession(f"{self.session.run}'", self.session)
        return self.session

    def workers(self, of: Pipeline, *, workers: int = 2, gpus: Sequence[str] = (), **params: Any) -> Any:
        session = self.next()
        return self._run(session, lambda: LocalPlaces(crew_over(session)), of, workers, gpus, params)

    def inline(self, of: Pipeline, *, workers: int = 3, gpus: Sequence[str] = (), **params: Any) -> Any:
        session = self.next()
        return self._run(session, lambda: InlinePlaces(session), of, workers, gpus, params)

    def _run(
        self, session: MemorySession, places: Callable[[], Any], of: Pipeline, workers: int, gpus: Sequence[str],
        params: dict[str, Any],
    ) -> Any:  # fmt: skip
        self.executor = ParallelExecutor(session, SystemClock(), FOLDER, places, workers=workers, gpus=gpus)
        return self.executor.run(of, params)

    def in_process(self, of: Pipeline, **params: Any) -> Any:
        self.executor = LocalExecutor(self.next(), SystemClock(), FOLDER)
        return self.executor.run(of, params)


__all__ = ["StepWorker"]
