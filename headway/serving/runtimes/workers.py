"""A model in an isolated worker, supervised: what it does wrong costs its own requests, and it is started anew."""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, cast

from numpy.typing import NDArray

from headway.engines.runtimes.environments import locked
from headway.engines.runtimes.folders import laid_out
from headway.engines.runtimes.python import Plan, PythonWorker, Raised
from headway.errors import HeadwayError, NotTrusted, Unavailable
from headway.lifecycle.models.records import PythonRuntime
from headway.lifecycle.rollouts.routing import Route
from headway.serving.runtimes.inline import ModelFiles, Runtime
from headway.serving.tensors import Feed

MOST_WAITING = 64
"""Requests that wait for one worker; more are told to come back."""
_LOOK_S = 0.25
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
_SOUND_S = 60.0
"""A worker that lived this long is started again as if it had never failed."""

log = logging.getLogger(__name__)
Outputs = list[NDArray[Any]]


class PatientRuntime(Protocol):
    """What may have to be waited for."""

    apart: bool

    def ask(self, feed: Feed) -> asyncio.Future[Outputs]:
        """The outputs as they will be, for the event loop that asks."""
        ...


def patient(runtime: Runtime) -> PatientRuntime | None:
    """`runtime` as one that is asked apart, if it has to be waited for."""
    return cast(PatientRuntime, runtime) if getattr(runtime, "apart", False) else None


class _Later:
    """A future of an event loop that another thread answers, as far as a `concurrent.futures.Future` is used here: for
    half of what that costs with `asyncio.wrap_future`."""

    __slots__ = ("_loop", "future")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Outputs] = self._loop.create_future()

    def set_running_or_notify_cancel(self) -> bool:
        return not self.future.cancelled()

    def set_result(self, outputs: Outputs) -> None:
        self._tell(self.future.set_result, outputs)

    def set_exception(self, error: BaseException) -> None:
        self._tell(self.future.set_exception, error)

    def _tell(self, settle: Callable[[Any], None], what: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, settle, what)

    def _settle(self, settle: Callable[[Any], None], what: object) -> None:
        if not self.future.done():
            settle(what)


class _Asked(NamedTuple):
    feed: Feed
    answer: Future[Outputs] | _Later
    deadline: float


class WorkerRuntime:
    """The worker of `route`, started, with its model laid out in `folder`, which it takes away when it is closed.

    Raises `NotTrusted` for a model that may hold any code and that nobody has let run, `Invalid` for one that does not
    load, `Unavailable` when there can be no process, or its packages are not among the `environments`.
    """

    apart = True

    def __init__(self, route: Route, models: ModelFiles, folder: Path, environments: Path | None = None) -> None:
        if route.form.may_hold_code and not route.trust:
            raise NotTrusted(f"release {route.release} may hold any code, and no operator has let it run")
        label = f"{route.model}@{route.version}"
        runtime = locked(route.python or PythonRuntime(), route.lock, environments, label)
        self._folder, self._release, self._limit_s = folder, route.release, runtime.time_limit_s
        path = laid_out(route.form, route.blob, models.get, folder)
        self._plan = Plan(form=route.form, path=path, runtime=runtime, signature=route.signature, feeding=route.feeding)
        self._queue: SimpleQueue[_Asked] = SimpleQueue()
        self._worker: PythonWorker | None = None
        self._lock = threading.Lock()
        """Held to put something into the queue, so that none comes when nobody will answer it."""
        self._again_at, self.error = 0.0, ""
        self._closing, self._started = threading.Event(), Future[None]()
        # A thread of its own for as long as there are workers: one ends with the thread that started it.
        self._thread = threading.Thread(target=self._supervise, name=f"worker of {route.release}", daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._worker.pid if self._worker else None

    def run(self, feed: Feed) -> Outputs:
        return self.submit(feed).result()

    def submit(self, feed: Feed) -> Future[Outputs]:
        """The outputs as they will be. Raises `Unavailable`, as waiting for them may, with `retry_after_s`."""
        answer: Future[Outputs] = Future()
        self._put(feed, answer)
        return answer

    def ask(self, feed: Feed) -> asyncio.Future[Outputs]:
        """As `submit`, for the event loop that asks."""
        later = _Later()
        self._put(feed, later)
        return later.future

    def _put(self, feed: Feed, answer: Future[Outputs] | _Later) -> None:
        with self._lock:
            if self._worker is None or self._closing.is_set():
                raise self._unavailable(f"it is being started again ({self.error or 'it was closed'})")
            if self._queue.qsize() >= MOST_WAITING:
                raise self._unavailable(f"{MOST_WAITING} requests wait for it already")
            self._queue.put(_Asked(feed, answer, time.monotonic() + self._limit_s))

    def close(self) -> None:
        """Answer what waits, then end the worker."""
        self._closing.set()
        self._thread.join(self._limit_s + _LOOK_S)
        if (worker := self._worker) is not None:
            worker.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _supervise(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._worker = PythonWorker(self._plan)
                self.error = ""
                if not self._started.done():
                    self._started.set_result(None)
                self._serve(self._worker)
            except Exception as error:  # whatever it is, the supervisor must not end with it
                self._note(error)
            failures = 0 if time.monotonic() - began > _SOUND_S else failures + 1
            pause_s = min(_SHORTEST_PAUSE_S * 2 ** (failures - 1), _LONGEST_PAUSE_S) if failures else 0.0
            self._again_at = time.monotonic() + pause_s
            with self._lock:
                self._worker = None
                self._refuse_waiting()
            if self._started.exception(timeout=0):
                return
            self._closing.wait(pause_s)

    def _serve(self, worker: PythonWorker) -> None:
        """Until it is gone, which raises `Unavailable`, or is to be closed and nothing waits."""
        try:
            while True:
                try:
                    asked = self._queue.get(timeout=_LOOK_S)
                except Empty:
                    if self._closing.is_set():
                        return
                    if not worker.alive:
                        raise Unavailable("the model's worker ended while nothing was asked of it") from None
                    continue
                self._answer(worker, asked)
        finally:
            worker.end()

    def _answer(self, worker: PythonWorker, asked: _Asked) -> None:
        if not asked.answer.set_running_or_notify_cancel():
            return
        if time.monotonic() > asked.deadline:
            asked.answer.set_exception(self._unavailable("others before it took too long"))
            return
        try:
            asked.answer.set_result(worker.run(asked.feed))
        except Raised as error:
            asked.answer.set_exception(error)
        except Unavailable as error:
            self._again_at = time.monotonic() + _SHORTEST_PAUSE_S
            asked.answer.set_exception(self._unavailable(str(error)))
            raise
        except BaseException as error:
            asked.answer.set_exception(error)
            raise

    def _note(self, error: Exception) -> None:
        self.error = str(error)
        if not self._started.done():
            self._started.set_exception(error)
            return
        log.error("worker ended", extra={"facts": {"release": self._release, "error": self.error}})

    def _refuse_waiting(self) -> None:
        with suppress(Empty):
            while True:
                asked = self._queue.get_nowait()
                if asked.answer.set_running_or_notify_cancel():
                    asked.answer.set_exception(self._unavailable("it ended before this request was its turn"))

    def _unavailable(self, why: str) -> HeadwayError:
        left_s = math.ceil(max(0.0, self._again_at - time.monotonic())) + 1
        return Unavailable(f"release {self._release} cannot answer now: {why}; ask again", retry_after_s=left_s)
