"""Accepts the connections of a model server, and ends them: in time, and all of them when it is asked to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Sequence
from typing import Protocol

from headway.serving.core import Core
from headway.serving.http.connection import Connection
from headway.serving.http.heads import Heads
from headway.serving.messages import KEY_HEADERS
from headway.serving.sockets import BACKLOG

DRAIN_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 75.0
_MOST_SWEEP_S = 1.0
_DRAIN_PAUSE_S = 0.01
_LAST_WORD_S = 0.2
"""How long a connection without a request stays when the server stops: one that is in use hears with its next answer
that it ends, while a request that is on its way to a closed one is lost."""

log = logging.getLogger(__name__)


class Service(Protocol):
    """Another way to ask the same core."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Listener:
    """Serves a `Core` over HTTP until SIGTERM or SIGINT.

    `request_timeout_s` is how long a client may take to send a request or to take its answer.
    """

    def __init__(self, responder: Core, *, request_timeout_s: float, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self.responder, self.request_timeout_s, self.keep_alive_s = responder, request_timeout_s, keep_alive_s
        self.connections: set[Connection] = set()
        self.draining, self.heads = False, Heads()
        KEY_HEADERS.listeners.append(self.heads.forget)

    async def serve(self, listening: socket.socket, beside: Sequence[Service] = (), parent: int | None = None) -> None:
        """Return once what was asked before the signal is answered and what was captured is written.

        The end of the stream `parent` is a signal, too.
        """
        self.loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, stopped.set)
        if parent is not None:
            self.loop.add_reader(parent, stopped.set)
        await self.responder.start()
        gc.collect()
        gc.freeze()  # what is there now stays: no collection needs to look at it again
        for service in beside:
            await service.start()
        server = await self.loop.create_server(lambda: Connection(self), sock=listening, backlog=BACKLOG)
        sweep = asyncio.create_task(self._sweep())
        await self.responder.meet()
        await stopped.wait()
        if parent is not None:
            self.loop.remove_reader(parent)
        server.close()
        await asyncio.gather(self._drain(), *(service.stop() for service in beside))
        sweep.cancel()
        await self.responder.stop()

    async def _sweep(self) -> None:
        pause_s = min(_MOST_SWEEP_S, self.request_timeout_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            now = self.loop.time()
            for connection in [each for each in self.connections if each.deadline < now]:
                connection.expire()

    async def _drain(self) -> None:
        self.draining = True
        begin = self.loop.time()
        while self.connections and (passed_s := self.loop.time() - begin) < DRAIN_TIMEOUT_S:
            for connection in [each for each in self.connections if each.is_idle() and passed_s >= _LAST_WORD_S]:
                connection.end()
            await asyncio.sleep(_DRAIN_PAUSE_S)
        if self.connections:
            facts = {"connections": len(self.connections), "after_s": DRAIN_TIMEOUT_S}
            log.warning("requests dropped", extra={"facts": facts})
