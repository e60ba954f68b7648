"""Points on their way to the database: what arrives while one commit waits for the disk shares the next one."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import NamedTuple

from headway.lifecycle.runs.metrics import Logged

_MOST_IN_GROUP = 64
AddAll = Callable[[Sequence[Logged]], Sequence[Exception | None]]


class _Waiting(NamedTuple):
    logged: Logged
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class Ingest:
    """One thread that writes for all callers. A call costs it a share of an act, and the caller's event loop one
    waking per group, where a thread for each call would cost an act and two wakings each."""

    def __init__(self, add_all: AddAll) -> None:
        self._add_all = add_all
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def add(self, logged: Logged) -> None:
        """Return once the points are durable; raises what kept them from being written."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="headway-ingest", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._queue.put(_Waiting(logged, done, loop))
        await done

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
            _answer(group, self._written([waiting.logged for waiting in group]))
            if last:
                return

    def _written(self, group: list[Logged]) -> Sequence[Exception | None]:
        try:
            return self._add_all(group)
        except Exception as error:
            if len(group) == 1:
                return [error]
        return [error for logged in group for error in self._written([logged])]  # so that one spoils it for itself only


def _answer(group: list[_Waiting], errors: Sequence[Exception | None]) -> None:
    answers = defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]](list)
    for waiting, error in zip(group, errors, strict=True):
        answers[waiting.loop].append((waiting.done, error))
    for loop, settled in answers.items():
        with suppress(RuntimeError):  # a loop that was closed meanwhile has nobody waiting
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for done, error in settled:
        if done.done():  # whoever waited has gone
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
