"""The platform without a server: the same application, called in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from litestar.types import ASGIApp

from headway.errors import Unreachable
from headway.lifecycle.runs.records import Code
from headway.server.api import asgi, threads
from headway.server.app import Application, compose
from headway.server.session import PlatformSession
from headway.server.settings import Settings
from headway.server.tokens import local_token

__all__ = ["LocalTransport", "local_token", "local_transport"]

Answer = TypeVar("Answer")


def local_transport(home: Path) -> LocalTransport:
    """A transport for `httpx2.Client` to the platform in `home`, which is made if need be; any URL at localhost does.

    No engine runs: what only a server does, such as moving changes on, waits until there is one.
    """
    return LocalTransport(compose(Settings.of(home)))


class LocalTransport(httpx2.BaseTransport):
    """Requests from any thread to an application on an event loop in a thread of its own."""

    def __init__(self, application: Application) -> None:
        self._application, self._app = application, asgi(application)
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(threads())
        self._thread = threading.Thread(target=self._loop.run_forever, name="headway-local", daemon=True)
        self._thread.start()

    def session(self, secret: str, run: str, pipeline: str, code: Code) -> PlatformSession:
        """A run's line to the platform that takes no requests; raises `NotSignedIn` as they would."""
        by = self._application.platform.access.actor(secret)
        return PlatformSession(self._application, by, run, pipeline, code)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._run(_exchange(self._app, request, _body(request)))

    def adopt(self, file: Path, digest: str) -> None:
        """Keep a file as a blob, under the digest that this process has found it to have. The file is gone then."""
        self._application.blobs.adopt(file, digest)

    def close(self) -> None:
        """Let open requests finish, and close the home."""
        if self._loop.is_closed():
            return
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._application.close()

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        if self._loop.is_closed():
            work.close()
            raise Unreachable("this connection is closed; connect again")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _body(request: httpx2.Request) -> Iterator[bytes]:
    """At once, or piece by piece if that is how it comes."""
    if isinstance(request.stream, httpx2.ByteStream):
        return iter([request.read()])
    assert isinstance(request.stream, httpx2.SyncByteStream)
    return iter(request.stream)


async def _exchange(app: ASGIApp, request: httpx2.Request, body: Iterator[bytes]) -> httpx2.Response:
    following = next(body, b"")
    sent = False
    started: dict[str, Any] = {}
    chunks: list[bytes] = []

    async def receive() -> Any:
        nonlocal sent, following
        if sent:
            await asyncio.Event().wait()  # nobody hangs up
        chunk, following = following, next(body, b"")
        sent = not following
        return {"type": "http.request", "body": chunk, "more_body": not sent}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            chunks.append(message.get("body", b""))

    await app(_scope(request), receive, send)
    headers = [(name, value) for name, value in started["headers"]]
    return httpx2.Response(started["status"], headers=headers, content=b"".join(chunks))


def _scope(request: httpx2.Request) -> Any:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,
        "server": ("localhost", 80),
        "extensions": {},
    }
