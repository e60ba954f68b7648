"""The model server as an ASGI application: the portable front, for those who run it under a server of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headway.serving.core import Core
from headway.serving.messages import Answer, head_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DRAINED = 8
"""How many times the body limit is still read, so that a client that only reads after sending gets its 413."""


class App:
    """`Responder` behind ASGI 3, lifespan included."""

    def __init__(self, responder: Core) -> None:
        self._responder = responder

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live_through(receive, send)
            return
        head = head_of(scope["headers"])
        head.arrived_ns = self._responder.door.arrived_ns()
        head.peer = str(scope["client"][0]).encode() if scope.get("client") else b""
        body, whole = await self._body(receive)
        if not whole:
            return
        answer = self._responder.respond(scope["method"], scope["path"], head, body)
        await _send(send, answer if isinstance(answer, Answer) else await answer)

    async def _body(self, receive: Receive) -> tuple[bytes | None, bool]:
        """The body, None when it is too large, and whether the client stayed until its end."""
        chunks: list[bytes] = []
        size, more, most = 0, True, self._responder.most_bytes
        while more and size <= most * _DRAINED:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None, False
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size <= most:
                chunks.append(chunk)
        return (None if size > most else b"".join(chunks)), True

    async def _live_through(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._responder.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._responder.stop()
        await send({"type": "lifespan.shutdown.complete"})


async def _send(send: Send, answer: Answer) -> None:
    status, body, content_type, more = answer
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *more]
    if status == 413:  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
