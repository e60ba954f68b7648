"""Questions whose client has gone are stopped, and so are those that take too long."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from litestar.types import ASGIApp, Receive, Send

from headway.errors import HeadwayError, Invalid, TooCostly
from headway.kernel.patience import PATIENCE, Patience

_AT_ONCE_S = 0.05
"""What is answered by then is not watched at all."""
_QUESTIONS = ("/search", "/search-datasets", "/runs/count")


class Patient:
    """Watches the client of each question that `app` answers, and how long the database takes for it.

    A question changes nothing: it is a GET, or a POST to a path that ends like one of `_QUESTIONS`. A write is never
    stopped.
    """

    def __init__(self, app: ASGIApp, most_query_s: float) -> None:
        self._app, self._most_query_s = app, most_query_s

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD") and not scope["path"].endswith(_QUESTIONS):
            await self._app(scope, receive, send)
            return
        patience, line, watching = Patience(), _Line(receive), list[asyncio.Task[None]]()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            _AT_ONCE_S, lambda: watching.append(loop.create_task(self._watch(patience, line)))
        )  # fmt: skip
        before = PATIENCE.set(patience)
        try:
            await self._app(scope, line.receive, send)
        finally:
            PATIENCE.reset(before)
            timer.cancel()
            for task in watching:
                task.cancel()

    async def _watch(self, patience: Patience, line: _Line) -> None:
        gone = asyncio.create_task(line.gone())
        try:
            while not gone.done():
                left_s = self._most_query_s - patience.waited_s
                if left_s <= 0:
                    _end(patience, TooCostly(_too_long(self._most_query_s)))
                    return
                await asyncio.wait({gone}, timeout=left_s)
            _end(patience, Invalid("the connection ended before there was an answer; ask again"))
        finally:
            gone.cancel()


class _Line:
    """What the client sends, to the application and to the watch: one of them listens at a time."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._heard = receive, asyncio.Queue[Any]()
        self._listening, self._overheard = asyncio.Lock(), False

    async def receive(self) -> Any:
        async with self._listening:
            if not self._overheard:
                return await self._receive()
        return await self._heard.get()

    async def gone(self) -> None:
        """Return once the client has gone; what it sends until then is kept for the application."""
        async with self._listening:
            self._overheard = True
        while True:
            message = await self._receive()
            self._heard.put_nowait(message)
            if message["type"] == "http.disconnect":
                return


def _end(patience: Patience, reason: HeadwayError) -> None:
    """In a thread of its own: those of the routes may all be busy with what is to be stopped."""
    threading.Thread(target=patience.end, args=(reason,), name="headway-stop", daemon=True).start()


def _too_long(most_s: float) -> str:
    return (
        f"the question took longer than {most_s:g} s: ask for fewer experiments or conditions, or for smaller pages, "
        "or start the server with a larger --most-query-s"
    )
