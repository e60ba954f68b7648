"""The Open Inference Protocol over gRPC: the six methods of `inference.GRPCInferenceService`, and five of Triton's, on
the same core."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from headway.errors import BadTensor, HeadwayError
from headway.serving.core import Core
from headway.serving.grpc.calls import (
    PREFIX_BYTES,
    STATUSES,
    Headers,
    Refusal,
    Status,
    headers_of,
    message_in,
    refusal,
    success,
)
from headway.serving.grpc.dialect import GrpcInference
from headway.serving.grpc.messages import MESSAGES, PACKAGE, DecodeError
from headway.serving.grpc.triton import METHODS, Asking, path_of
from headway.serving.http2.listener import Listener
from headway.serving.http2.requests import Request
from headway.serving.http2.stream import Reply, Stream
from headway.serving.inference import NO_HEAD, Inference, status_of
from headway.serving.messages import KEY_HEADERS, Answer, Head
from headway.serving.pages import Pages
from headway.serving.turn import MOST_BYTES as TURN_BYTES

_KEEP_ALIVE_S = 300.0
_DRAIN_S = 10.0
_METHODS = f"/{PACKAGE}.GRPCInferenceService/"

Said = Reply | Awaitable[Reply] | None
Method = Callable[[bytes, Head, Stream, bool], Said]
"""Its message, headers and stream, and whether it is too late to put the answer off."""


class Call(NamedTuple):
    """What a call asks by its headers."""

    method: Method
    headers: Headers


class GrpcService:
    """Answers at a socket that is bound until it is stopped. Inference is put off until the end of the turn of the
    event loop, as over HTTP."""

    def __init__(
        self, inference: Inference, pages: Pages, core: Core, bound: socket.socket, request_timeout_s: float
    ) -> None:
        self._inference, self._pages, self._core, self._bound = inference, pages, core, bound
        self._turn = turn = core.turn
        self._body_bytes, self.most_bytes = core.most_bytes, core.most_bytes + PREFIX_BYTES
        self.arrived_ns, self.end_turn = inference.door.arrived_ns, turn.end
        self._methods: dict[bytes, Method] = {
            f"{_METHODS}{name}".encode(): method
            for name, method in {
                "ServerLive": self._server_live,
                "ServerReady": self._server_ready,
                "ModelReady": self._model_ready,
                "ServerMetadata": self._server_metadata,
                "ModelMetadata": self._model_metadata,
                "ModelInfer": self._infer,
                **{name: self._as_triton(name, asking) for name, asking in METHODS.items()},
            }.items()
        }
        self._listener = Listener(
            self, request_timeout_s=request_timeout_s, keep_alive_s=_KEEP_ALIVE_S, drain_s=_DRAIN_S
        )

    async def start(self) -> None:
        KEY_HEADERS.listeners.append(self._listener.forget)
        await self._listener.start(self._bound)

    async def stop(self) -> None:
        """Return once what was asked is answered."""
        await self._listener.stop()

    # What a connection asks of it.

    def asked(self, request: Request) -> Call | Reply:
        headers = headers_of(request)
        if isinstance(headers, Reply):
            return headers
        method = self._methods.get(request.path)
        if method is None:
            path = request.path[:200].decode("latin-1")
            names = ", ".join(each.decode().removeprefix(_METHODS) for each in self._methods)
            return refusal(Status.UNIMPLEMENTED, f"there is no method {path} here; {_METHODS} has {names}")
        return Call(method, headers)

    def answer(self, asked: Call, body: bytes, stream: Stream) -> Said:
        method, (head, encoding) = asked
        try:
            message = message_in(body, encoding, self._body_bytes)
        except Refusal as refused:
            return refused.reply
        if isinstance(message, bytes):
            return self._call(method, message, head, stream)
        return self._call_later(method, message, head, stream)

    def refuse(self, status: int, reason: str) -> Reply:
        if status == 413:
            reason = f"the message is larger than {self._body_bytes} bytes; send fewer rows in a request"
        return refusal(STATUSES[status], reason)

    def _call(self, method: Method, message: bytes, head: Head, stream: Stream, *, late: bool = False) -> Said:
        try:
            return method(message, head, stream, late)
        except HeadwayError as error:
            return refusal(STATUSES[status_of(error)], str(error))

    async def _call_later(self, method: Method, message: Awaitable[bytes], head: Head, stream: Stream) -> Reply:
        try:
            plain = await message
        except HeadwayError as error:
            return refusal(STATUSES[status_of(error)], str(error))
        said = self._call(method, plain, head, stream, late=True)
        assert said is not None
        return said if isinstance(said, Reply) else await said

    # The methods.

    def _infer(self, message: bytes, head: Head, stream: Stream, late: bool) -> Said:
        request = _read("ModelInferRequest", message)
        table, dialect, inference = self._pages.serving(request.model_name), GrpcInference(request), self._inference
        by_turn = not late and table.by_turn and len(message) <= TURN_BYTES and inference.telemetry is None
        if request.model_version or head.deadline or not by_turn:
            head = msgspec.structs.replace(
                head, version=request.model_version, peer=stream.peer, arrived_ns=stream.arrived_ns
            )
        if by_turn:
            self._turn.put_off(
                (inference, table, head, message, stream.peer, lambda said: stream.tell(_reply_to(said)), dialect)
            )
            return None
        refused = inference.turn_away(table, head, dialect) if table.routes else None
        if refused:
            return _reply(refused)
        if late or table.waits:
            return _reply_later(inference.answer_apart(table, message, head, dialect))
        return _reply_to(inference.answer(table, message, head, dialect))

    def _server_live(self, message: bytes, head: Head, stream: Stream, late: bool) -> Said:
        return _said("ServerLiveResponse", live=True)

    def _server_ready(self, message: bytes, head: Head, stream: Stream, late: bool) -> Said:
        return _said("ServerReadyResponse", ready=self._pages.is_ready())

    def _server_metadata(self, message: bytes, head: Head, stream: Stream, late: bool) -> Said:
        return _said("ServerMetadataResponse", **self._page("/v2"))

    def _model_ready(self, message: bytes, head: Head, stream: Stream, late: bool) -> Said:
        return self._about(message, "ModelReady", "/ready", ("ready",))

    def _model_metadata(self, message: bytes, head: Head, stream: Stream, late: bool) -> Said:
        return self._about(message, "ModelMetadata", "", ("name", "versions", "platform", "inputs", "outputs"))

    def _about(self, message: bytes, method: str, page: str, wanted: tuple[str, ...]) -> Reply:
        """What the page of the same name says over HTTP."""
        request = _read(f"{method}Request", message)
        self._pages.serving(request.name)  # not every page below `/v2/models` is a model's
        said = self._page(path_of(request.name, request.version, page))
        return _said(f"{method}Response", **{name: said[name] for name in wanted})

    def _as_triton(self, name: str, asking: Asking) -> Method:
        """A method that is answered by a page, which may have to ask other workers."""

        def told(answer: Answer) -> Reply:
            said = msgspec.json.decode(answer.body)
            if answer.status != 200:
                return refusal(STATUSES[answer.status], said["error"])
            return _said(f"{name}Response", **asking.fields(said))

        async def told_later(answer: Awaitable[Answer]) -> Reply:
            return told(await answer)

        def method(message: bytes, head: Head, stream: Stream, late: bool) -> Said:
            path = asking.path(_read(f"{name}Request", message))
            answer = self._core.respond(asking.http_method, path, NO_HEAD, b"")
            return told(answer) if isinstance(answer, Answer) else told_later(answer)

        return method

    def _page(self, path: str) -> dict[str, Any]:
        said: dict[str, Any] = msgspec.json.decode(self._pages.page(path, "GET").body)
        return said


def _read(kind: str, message: bytes) -> Any:
    try:
        return MESSAGES[kind].FromString(message)
    except DecodeError:
        raise BadTensor(f"the message is no {kind}") from None


def _said(kind: str, /, **fields: Any) -> Reply:
    return success(MESSAGES[kind](**fields).SerializeToString())


def _reply_to(answer: Answer | Awaitable[Answer]) -> Reply | Awaitable[Reply]:
    return _reply(answer) if isinstance(answer, Answer) else _reply_later(answer)


def _reply(answer: Answer) -> Reply:
    if answer.status == 200:
        return success(answer.body)
    return refusal(STATUSES[answer.status], answer.body.decode())


async def _reply_later(answer: Awaitable[Answer]) -> Reply:
    return _reply(await answer)
