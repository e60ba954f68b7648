"""Accepts connections of HTTP/2, looks at each now and then, and asks all to leave when it stops."""

from __future__ import annotations

import asyncio
import logging
import socket

from headway.serving.http2.connection import Connection
from headway.serving.http2.stream import Application
from headway.serving.sockets import BACKLOG

_MOST_PAUSE_S = 1.0
_DRAIN_PAUSE_S = 0.01

log = logging.getLogger(__name__)


class Listener:
    """`request_timeout_s` is how long a client may take to send a request or to take its answer, `keep_alive_s` how
    long it may ask nothing, and `drain_s` how long it may take to leave."""

    def __init__(
        self, application: Application, *, request_timeout_s: float, keep_alive_s: float, drain_s: float
    ) -> None:
        self.application, self.request_timeout_s, self.keep_alive_s = application, request_timeout_s, keep_alive_s
        self._drain_s = drain_s
        self.connections: set[Connection] = set()

    async def start(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(lambda: Connection(self), sock=listening, backlog=BACKLOG)
        self._looks = asyncio.create_task(self._look())

    def forget(self) -> None:
        """What the application has made of heads holds no more."""
        for connection in self.connections:
            connection.streams.blocks.forget()

    async def stop(self) -> None:
        """Return once what was asked is answered."""
        self._server.close()
        end = self._loop.time() + self._drain_s
        while self.connections and self._loop.time() < end:
            for connection in list(self.connections):
                connection.drain()
            await asyncio.sleep(_DRAIN_PAUSE_S)
        self._looks.cancel()
        if self.connections:
            log.warning("requests dropped", extra={"facts": {"connections": len(self.connections)}})
        for connection in list(self.connections):
            connection.transport.abort()

    async def _look(self) -> None:
        pause_s = min(_MOST_PAUSE_S, self.request_timeout_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            now = self._loop.time()
            for connection in list(self.connections):
                try:
                    connection.look(now)
                except Exception:  # whatever has become of one, the others are looked at
                    log.exception("connection failed")
                    connection.transport.abort()
