"""A graph of models part by part: ONNX in this process, all else in workers of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headway.engines.models.composing import RunPart, opened_parts, run_graph
from headway.errors import Invalid, Unavailable
from headway.kernel.records import digest
from headway.lifecycle.models.graphs import Part, read_graph
from headway.lifecycle.models.records import Form
from headway.lifecycle.rollouts.routing import Route
from headway.serving.runtimes.inline import ModelFiles
from headway.serving.runtimes.memory import OnnxModels
from headway.serving.runtimes.workers import MOST_WAITING, WorkerRuntime
from headway.serving.tensors import Feed


class GraphRuntime:
    """The graph of `route`; workers lay out their models below `folder`.

    Raises `NotTrusted` when a part may hold any code and nobody has let the graph run, and as the parts' runtimes do.
    """

    def __init__(
        self, route: Route, models: ModelFiles, onnx: OnnxModels, folder: Path, environments: Path | None = None
    ) -> None:  # fmt: skip
        self._route, self._models, self._onnx, self._folder = route, models, onnx, folder
        self._environments = environments
        data = models.get(route.blob)
        if digest(data) != route.blob:
            raise Invalid(f"the graph of {route.release} has another digest than its route says")
        self._graph, self._open = read_graph(data), ExitStack()
        self.apart = False
        """Whether an answer may have to be waited for."""
        try:
            self._parts = opened_parts(self._graph, models.get, self._opened)
        except BaseException:
            self._open.close()
            raise
        # One at a time, as a worker answers; parts that are ONNX cost little beside.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"graph of {route.release}")
        self._waiting, self._lock = 0, threading.Lock()

    def run(self, feed: Feed) -> list[NDArray[Any]]:
        return run_graph(self._graph, self._route.signature, feed, self._parts)

    def submit(self, feed: Feed) -> Future[list[NDArray[Any]]]:
        """The outputs as they will be; waiting for them raises as `run` does. `Unavailable` when too many wait."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                told = f"release {self._route.release} cannot answer now: {MOST_WAITING} requests wait for it already"
                raise Unavailable(f"{told}; ask again", retry_after_s=1)
            self._waiting += 1
        answer = self._thread.submit(self.run, feed)
        answer.add_done_callback(self._answered)
        return answer

    def ask(self, feed: Feed) -> asyncio.Future[list[NDArray[Any]]]:
        """As `submit`, for the event loop that asks."""
        return asyncio.wrap_future(self.submit(feed))

    def _answered(self, answer: Future[list[NDArray[Any]]]) -> None:
        with self._lock:
            self._waiting -= 1

    def close(self) -> None:
        self._thread.shutdown()
        self._open.close()

    def _opened(self, part: Part, place: str) -> RunPart:
        if part.form is Form.ONNX:
            return self._onnx.get(part.blob, part.signature).run
        self.apart = True
        route = self._route.but(
            blob=part.blob,
            signature=part.signature,
            form=part.form,
            feeding=part.feeding,
            contract=None,
            lock=part.lock,
        )
        runtime = WorkerRuntime(route, self._models, self._folder / place, self._environments)
        self._open.callback(runtime.close)
        return runtime.run
