"""The model server over HTTP: raw ASGI, because a framework would cost more than the model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headway.errors import HeadwayError, TooLarge, Unavailable
from headway.serving.capture import Capture
from headway.serving.counters import ServerCounters, ServerStatus
from headway.serving.dialects import Dialect
from headway.serving.encodings import LEAST_BYTES, chosen, decoded, encoded
from headway.serving.inference import OPEN_INFERENCE, Inference, status_of
from headway.serving.messages import Answer, Head, head_of
from headway.serving.mlflow import MLFLOW
from headway.serving.pages import Pages, model_path
from headway.serving.predict import PREDICTION
from headway.serving.protocol import encode, encode_error
from headway.serving.router import LoadedTable, Router

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_METRICS = b"text/plain; version=0.0.4; charset=utf-8"
_PREDICT = "/v1/predict/"
_DRAINED = 8
"""How many times the body limit is still read, so that a client that only reads after sending gets its 413."""


class App:
    def __init__(
        self, router: Router, inference: Inference, counters: ServerCounters, capture: Capture, most_bytes: int
    ) -> None:
        self._router, self._inference, self._counters, self._capture = router, inference, counters, capture
        self._most_bytes = most_bytes
        self._about = Pages(router, counters)
        self._pages = self._about.fixed | {
            "/v1/status": ("GET", lambda: Answer(200, encode(self.status()))),
            "/metrics": ("GET", lambda: Answer(200, counters.prometheus(capture.status()).encode(), _METRICS)),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live_through(receive, send)
            return
        path, table, head = scope["path"], self._router.active, head_of(scope["headers"])
        try:
            if scope["method"] != "POST":
                answer: Answer | None = self._page(path, scope["method"])
            elif table is not None and path == table.infer_path:
                answer = await self._infer(table, head, receive)
            else:
                answer = await self._post(path, head, receive)
        except HeadwayError as error:
            answer = Answer(status_of(error), encode_error(str(error)))
        if answer is not None:
            await _send(send, answer, head.accept_encoding)

    def status(self) -> ServerStatus:
        table = self._router.active.table if self._router.active else None
        return ServerStatus(
            deployment=table.deployment if table else "",
            generation=table.generation if table else 0,
            error=self._router.error,
            pid=os.getpid(),
            releases=self._counters.status(),
            capture=self._capture.status(),
        )

    async def _post(self, path: str, head: Head, receive: Receive) -> Answer | None:
        if path == "/v1/flush":
            return Answer(200, encode(await self._capture.flush(at_once=True)))
        if path == "/invocations":
            return await self._invoke(head, receive)
        if path.startswith(_PREDICT):
            return await self._infer(self._about.serving(path.removeprefix(_PREDICT)), head, receive, PREDICTION)
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            name, head.version, rest = model_path(path)
            if rest == "infer":
                return await self._infer(self._about.serving(name), head, receive)
        return self._page(path, "POST")

    async def _invoke(self, head: Head, receive: Receive) -> Answer | None:
        table = self._router.active
        if table is None:
            error = Unavailable("no routing table is loaded yet")
            return MLFLOW.refuse(status_of(error), str(error), error)
        return await self._infer(table, head, receive, MLFLOW)

    async def _infer(
        self, table: LoadedTable, head: Head, receive: Receive, dialect: Dialect[Any] = OPEN_INFERENCE
    ) -> Answer | None:
        """None when the client went away before its request was whole."""
        if not table.routes:
            error = Unavailable("no release is deployed here yet")
            return dialect.refuse(status_of(error), str(error), error)
        try:
            body = await self._body(receive)
            if body is None:
                return None
            if head.content_encoding:
                body = await asyncio.to_thread(decoded, body, head.content_encoding, self._most_bytes)
        except HeadwayError as refusal:
            return self._inference.refuse(table, refusal, dialect)
        newest = self._router.active  # another one may have come while the body did
        table = newest if newest and newest.routes else table
        if table.apart:
            return await self._inference.answer_apart(table, body, head, dialect)
        return self._inference.answer(table, body, head, dialect)

    async def _body(self, receive: Receive) -> bytes | None:
        chunks: list[bytes] = []
        size, more = 0, True
        while more and size <= self._most_bytes * _DRAINED:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size <= self._most_bytes:
                chunks.append(chunk)
        if size > self._most_bytes:
            raise TooLarge(f"the body is larger than {self._most_bytes} bytes; send fewer rows in a request")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _page(self, path: str, method: str) -> Answer:
        if method != "POST" and (path in ("/v1/flush", "/invocations") or path.startswith(_PREDICT)):
            return Answer(405, encode_error(f"{path} takes POST"))
        taken, page = self._pages.get(path, ("", None))
        if page is None:
            return self._about.page(path, method)
        return page() if method == taken else Answer(405, encode_error(f"{path} takes {taken}"))

    async def _live_through(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._router.refresh()
        watch, flush = asyncio.create_task(self._router.watch()), asyncio.create_task(self._capture.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watch.cancel()
        self._capture.close()
        await flush
        await asyncio.to_thread(self._router.close)
        await send({"type": "lifespan.shutdown.complete"})


async def _send(send: Send, answer: Answer, accepted: bytes) -> None:
    status, body, content_type, more = answer
    if accepted and len(body) >= LEAST_BYTES and (encoding := chosen(accepted)):
        body = await asyncio.to_thread(encoded, body, encoding)
        more = (*more, (b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *more]
    if status == 413:  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
