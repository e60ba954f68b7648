"""The Open Inference Protocol over gRPC: the six methods of `inference.GRPCInferenceService`, on the same core."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio
import msgspec

from headway.errors import BadTensor, HeadwayError
from headway.serving.door import LONGEST_MS
from headway.serving.grpc_dialect import GrpcInference
from headway.serving.grpc_messages import MESSAGES, PACKAGE, DecodeError
from headway.serving.inference import Inference, status_of
from headway.serving.messages import KEY_HEADERS, Head
from headway.serving.pages import Pages

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_GRACE_S = 10.0


class Context(Protocol):
    """What gRPC knows of a call."""

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...

    def time_remaining(self) -> float | None: ...

    def peer(self) -> str: ...


Method = Callable[[bytes, Context], Awaitable[bytes]]


class GrpcService:
    """Answers on `address`, which may be `shared` with other processes, until it is stopped; requests and answers pass
    as bytes, so that each is decoded once."""

    def __init__(
        self, inference: Inference, pages: Pages, address: str, most_bytes: int, *, shared: bool = False
    ) -> None:
        self._inference, self._pages, self._address, self._most_bytes = inference, pages, address, most_bytes
        self._shared = shared

    async def start(self) -> None:
        """Raises OSError when the address cannot be had."""
        methods: dict[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        options = (("grpc.max_receive_message_length", self._most_bytes), ("grpc.so_reuseport", int(self._shared)))
        self._server = grpc.aio.server(options=options)
        handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        service = grpc.method_handlers_generic_handler(f"{PACKAGE}.GRPCInferenceService", handlers)
        self._server.add_generic_rpc_handlers((service,))
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise OSError(str(error)) from None
        await self._server.start()

    async def stop(self) -> None:
        """Return once what was asked is answered."""
        await self._server.stop(_GRACE_S)

    async def _infer(self, body: bytes, context: Context) -> bytes:
        try:
            request = MESSAGES["ModelInferRequest"].FromString(body)
            table = self._pages.serving(request.model_name)
        except DecodeError:
            return await _refused(context, BadTensor("the message is no ModelInferRequest"))
        except HeadwayError as error:
            return await _refused(context, error)
        head, dialect = _head(context, request.model_version), GrpcInference(request)
        answer = self._inference.turn_away(table, head, dialect) if table.routes else None
        answer = answer or await self._inference.answer_apart(table, body, head, dialect)
        if answer.status != 200:
            await context.abort(_CODES[answer.status], answer.body.decode())
        return answer.body

    async def _server_live(self, body: bytes, context: Context) -> bytes:
        return _said("ServerLiveResponse", live=True)

    async def _server_ready(self, body: bytes, context: Context) -> bytes:
        return _said("ServerReadyResponse", ready=self._pages.is_ready())

    async def _server_metadata(self, body: bytes, context: Context) -> bytes:
        return _said("ServerMetadataResponse", **_page(self._pages, "/v2"))

    async def _model_ready(self, body: bytes, context: Context) -> bytes:
        return await self._about(body, context, "ModelReadyRequest", "ModelReadyResponse", "/ready", ("ready",))

    async def _model_metadata(self, body: bytes, context: Context) -> bytes:
        wanted = ("name", "versions", "platform", "inputs", "outputs")
        return await self._about(body, context, "ModelMetadataRequest", "ModelMetadataResponse", "", wanted)

    async def _about(
        self, body: bytes, context: Context, ask: str, answer: str, page: str, wanted: tuple[str, ...]
    ) -> bytes:
        """What the page of the same name says over HTTP."""
        try:
            request = MESSAGES[ask].FromString(body)
            version = f"/versions/{request.version}" if request.version else ""
            said = _page(self._pages, f"/v2/models/{request.name}{version}{page}")
        except DecodeError:
            return await _refused(context, BadTensor(f"the message is no {ask}"))
        except HeadwayError as error:
            return await _refused(context, error)
        return _said(answer, **{name: said[name] for name in wanted})


def _page(pages: Pages, path: str) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(pages.page(path, "GET").body)
    return said


def _said(kind: str, /, **fields: Any) -> bytes:
    said: bytes = MESSAGES[kind](**fields).SerializeToString()
    return said


async def _refused(context: Context, error: HeadwayError) -> NoReturn:
    await context.abort(_CODES[status_of(error)], str(error))


def _head(context: Context, version: str) -> Head:
    """What the call says beside its message. Its deadline is gRPC's own."""
    metadata = dict(context.invocation_metadata() or ())
    left_s = context.time_remaining()
    return Head(
        key=_bytes(metadata.get("headway-key", b"")),
        named={name: _bytes(value) for name in KEY_HEADERS.names if (value := metadata.get(name.decode()))},
        caller=_bytes(metadata.get("headway-caller", b"")),
        traceparent=_bytes(metadata.get("traceparent", b"")),
        deadline=b"" if left_s is None else b"%.3f" % min(max(left_s * 1000, 0), LONGEST_MS),
        version=version,
        peer=context.peer().rpartition(":")[0].encode(),
        arrived_ns=time.perf_counter_ns(),
    )


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
