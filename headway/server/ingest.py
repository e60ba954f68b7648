"""Writes on their way to the database: what arrives while one commit waits for the disk shares the next one."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from headway.lifecycle.runs.metrics import Logged

_MOST_IN_GROUP = 64
_LOG = logging.getLogger("headway.server")
AddAll = Callable[[Sequence[Logged]], Sequence[Exception | None]]
Together = Callable[[], AbstractContextManager[None]]
Made = TypeVar("Made")


class Outcome(NamedTuple):
    """What came of work, or what kept it from being done."""

    value: Any = None
    error: Exception | None = None


class _Waiting(NamedTuple):
    asked: Logged | Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answered: Callable[[Outcome], None]


class Ingest:
    """One thread that writes for all callers. A call costs it a share of a commit, and the caller's event loop one
    waking per group, where a thread for each call would cost a commit and two wakings each.

    `together` makes what is written inside it durable with one commit, when it ends.
    """

    def __init__(self, add_all: AddAll, together: Together = nullcontext) -> None:
        self._add_all, self._together = add_all, together
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def add(self, logged: Logged) -> None:
        """Return once the points are durable; raises what kept them from being written."""
        await self._answered(logged)

    async def write(self, work: Callable[[], Made]) -> Made:
        """What `work` returns, once what it wrote is durable. All others wait for it: it is to take a few acts."""
        made: Made = await self._answered(work)
        return made

    def submit(
        self, asked: Logged | Callable[[], Any], loop: asyncio.AbstractEventLoop, answered: Callable[[Outcome], None]
    ) -> None:
        """As `add` and `write`, for who does not wait: `answered` is called in `loop`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="headway-ingest", daemon=True)
            self._thread.start()
        self._queue.put(_Waiting(asked, loop, answered))

    async def _answered(self, asked: Logged | Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self.submit(asked, loop, partial(_fulfil, done))
        return await done

    def close(self) -> None:
        """Write what is waiting, and stop."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = [first], False
            while len(group) < _MOST_IN_GROUP and not self._queue.empty():
                waiting = self._queue.get()
                if waiting is None:
                    last = True
                    break
                group.append(waiting)
            _answer(group, self._written([waiting.asked for waiting in group]))
            if last:
                return

    def _written(self, group: list[Logged | Callable[[], Any]]) -> list[Outcome]:
        points = [asked for asked in group if isinstance(asked, Logged)]
        try:
            with self._together():
                added = iter(self._added(points))
                return [next(added) if isinstance(asked, Logged) else _outcome(asked) for asked in group]
        except Exception as error:  # of the commit
            return [Outcome(error=error) for _ in group]

    def _added(self, group: list[Logged]) -> list[Outcome]:
        if not group:
            return []
        try:
            return [Outcome(error=error) for error in self._add_all(group)]
        except Exception as error:
            if len(group) == 1:
                return [Outcome(error=error)]
        return [each for logged in group for each in self._added([logged])]  # so that one spoils it for itself only


def _outcome(work: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(work())
    except Exception as error:
        return Outcome(error=error)


def _answer(group: list[_Waiting], outcomes: list[Outcome]) -> None:
    answers: dict[asyncio.AbstractEventLoop, list[tuple[Callable[[Outcome], None], Outcome]]] = defaultdict(list)
    for waiting, outcome in zip(group, outcomes, strict=True):
        answers[waiting.loop].append((waiting.answered, outcome))
    for loop, settled in answers.items():
        with suppress(RuntimeError):  # a loop that was closed meanwhile has nobody waiting
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple[Callable[[Outcome], None], Outcome]]) -> None:
    for answered, outcome in settled:
        try:
            answered(outcome)
        except Exception:  # of the one it was for: the others are still to hear
            _LOG.exception("an answer could not be given")


def _fulfil(done: asyncio.Future[Any], outcome: Outcome) -> None:
    if done.done():  # whoever waited has gone
        return
    if outcome.error is None:
        done.set_result(outcome.value)
    else:
        done.set_exception(outcome.error)
