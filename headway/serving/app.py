"""The model server over HTTP: raw ASGI, because a framework would cost more than the model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from headway.errors import HeadwayError, NotFound, TooLarge, Unavailable
from headway.lifecycle.models.records import TensorSpec
from headway.serving.capture import Capture
from headway.serving.counters import ServerCounters, ServerStatus
from headway.serving.inference import Inference, status_of
from headway.serving.protocol import encode, encode_error
from headway.serving.router import LoadedTable, Router

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, bytes]

try:
    VERSION = version("headway")
except PackageNotFoundError:  # run from its source, not installed
    VERSION = "0+source"

_JSON, _TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"
_DRAINED = 8
"""How many times the body limit is still read, so that a client that only reads after sending gets its 413."""


class App:
    def __init__(
        self, router: Router, inference: Inference, counters: ServerCounters, capture: Capture, most_bytes: int
    ) -> None:
        self._router, self._inference, self._counters, self._capture = router, inference, counters, capture
        self._most_bytes = most_bytes
        self._pages: dict[str, Callable[[], Answer]] = {
            "/v2": lambda: (200, encode({"name": "headway", "version": VERSION, "extensions": []})),
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            "/v1/status": lambda: (200, encode(self.status())),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live_through(receive, send)
            return
        path, table = scope["path"], self._router.active
        if table is not None and path == table.infer_path and scope["method"] == "POST":
            answer = await self._infer(table, scope, receive)
            if answer is not None:
                await _send(send, answer, close=answer[0] == 413)
        elif path == "/metrics":
            text = self._counters.prometheus(self._capture.status())
            await _send(send, (200, text.encode()), _TEXT)
        elif path == "/v1/flush" and scope["method"] == "POST":
            await _send(send, (200, encode(await self._capture.flush(at_once=True))))
        else:
            await _send(send, self._page(path, scope["method"]))

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

    async def _infer(self, table: LoadedTable, scope: Message, receive: Receive) -> Answer | None:
        """None when the client went away before its request was whole."""
        if not table.routes:
            error = Unavailable("no release is deployed here yet")
            return status_of(error), encode_error(str(error))
        key = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"headway-key"), "")
        try:
            body = await self._body(receive)
        except TooLarge as error:
            return self._inference.refuse(table, error)
        if body is None:
            return None
        newest = self._router.active  # another one may have come while the body did
        return self._inference.answer(newest if newest and newest.routes else table, body, key)

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
        try:
            if path in ("/v1/flush", self._router.active and self._router.active.infer_path):
                return 405, encode_error(f"{path} takes POST")
            page = self._pages.get(path) or self._model_page(path)
            return page() if method == "GET" else (405, encode_error(f"{path} takes GET"))
        except HeadwayError as error:
            return status_of(error), encode_error(str(error))

    def _model_page(self, path: str) -> Callable[[], Answer]:
        head, _, rest = path.removeprefix("/v2/models/").partition("/")
        if not path.startswith("/v2/models/") or rest not in ("", "ready", "infer"):
            raise NotFound(f"there is nothing at {path[:200]}")
        table = self._router.active
        if table is None:
            raise Unavailable(self._router.error or "no routing table is loaded yet")
        name = table.table.deployment
        if head != name:
            raise NotFound(f"there is no model {head[:200]!r} here; this server serves {name!r}")
        return (lambda: self._model_ready(table)) if rest == "ready" else (lambda: (200, encode(_metadata(table))))

    def _model_ready(self, table: LoadedTable) -> Answer:
        ready = bool(table.routes)
        return 200 if ready else 503, encode({"name": table.table.deployment, "ready": ready})

    def _live(self) -> Answer:
        return 200, encode({"live": True, "ready": self._is_ready()})

    def _ready(self) -> Answer:
        return 200 if self._is_ready() else 503, encode({"live": True, "ready": self._is_ready()})

    def _is_ready(self) -> bool:
        return self._router.active is not None and bool(self._router.active.routes)

    async def _live_through(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._router.refresh()
        watch, flush = asyncio.create_task(self._router.watch()), asyncio.create_task(self._capture.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watch.cancel()
        self._capture.close()
        await flush
        await send({"type": "lifespan.shutdown.complete"})


def _metadata(table: LoadedTable) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": table.table.deployment,
        "versions": [str(loaded.route.version) for loaded in table.routes],
        "platform": "onnxruntime_onnx",
        "inputs": [],
        "outputs": [],
    }
    if table.routes:
        signature = table.routes[0].route.signature
        metadata["inputs"] = [_described(spec) for spec in signature.inputs]
        metadata["outputs"] = [_described(spec) for spec in signature.outputs]
    return metadata


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


async def _send(send: Send, answer: Answer, content_type: bytes = _JSON, *, close: bool = False) -> None:
    status, body = answer
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
