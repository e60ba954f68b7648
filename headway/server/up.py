"""Serving: one process, one home, one socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from headway.engines.processes import write_whole
from headway.engines.telemetry import Telemetry, open_telemetry
from headway.errors import AlreadyExists, BadSettings, Unavailable
from headway.kernel.records import encode
from headway.server.api import threads, ways
from headway.server.app import Application
from headway.server.connection import BoundedHttp
from headway.server.home import Home, Serving
from headway.server.quick_http import QuickHttp
from headway.server.settings import Settings
from headway.server.traced import Traced

_DRAIN_S = 10
"""How long open requests may still take once it is told to stop."""


def serve(application: Application, *, ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until SIGINT or SIGTERM, then let open requests finish; `ready` is told the URL once it listens.

    The application is left open. Raises `AlreadyExists` when a server runs on this home, `Unavailable` when the port
    is taken, `BadSettings` when there is no such host.
    """
    with _alone(application.home), _listening(application.settings) as listener:
        url = _url(application.settings.host, listener.getsockname()[1])
        telemetry = open_telemetry("headway")
        server = _Server(application, lambda: ready(url), Serving(url=url, pid=os.getpid()), telemetry)
        try:
            with _told_to_stop(server):
                server.run(sockets=[listener])
        finally:
            application.home.server.unlink(missing_ok=True)
            if telemetry:
                telemetry.close()


class _Server(uvicorn.Server):
    """Says where it is once it listens, and runs the engines meanwhile."""

    def __init__(
        self, application: Application, ready: Callable[[], None], note: Serving, telemetry: Telemetry | None
    ) -> None:
        app, quick = ways(application)
        http: Any = BoundedHttp if telemetry else partial(QuickHttp, quick)  # spans are made on the long way only
        super().__init__(
            uvicorn.Config(
                Traced(app, telemetry) if telemetry else app,
                http=http,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,  # nothing here asks where a request came from
                timeout_graceful_shutdown=_DRAIN_S,
            )
        )
        self._application, self._ready, self._note = application, ready, note

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are heard by `serve`: uvicorn would raise them again before there was time to tidy up."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_default_executor(threads())
        await super().startup(sockets)
        write_whole(self._application.home.server, encode(self._note))
        self._application.start()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # In a thread: model servers that are told to stop still hand over what they captured.
        await asyncio.to_thread(self._application.stop)
        await super().shutdown(sockets)


@contextmanager
def _told_to_stop(server: uvicorn.Server) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Hold the home's lock, which ends with the process, however that ends."""
    with home.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            running = home.serving()
            where = f" at {running.url} (pid {running.pid})" if running else ""
            raise AlreadyExists(f"a server runs on {home.folder} already{where}; stop it first, or use it") from error
        yield


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(f"port {settings.port} is taken; choose another with --port, or 0 for any") from error
        raise BadSettings(f"cannot listen on {place}: {error.strerror}; choose another host or port") from error
    with listener:
        yield listener


def _url(host: str, port: int) -> str:
    """Where a client on this machine finds it."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
