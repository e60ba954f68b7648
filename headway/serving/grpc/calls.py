"""What a call over gRPC asks by its headers, and how its messages and its end stand in HTTP/2.

Source: github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, doc/compression.md and doc/statuscodes.md. Calls are unary: one
message each way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from enum import IntEnum
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from headway.errors import BadTensor
from headway.serving.door import LONGEST_MS
from headway.serving.http.encodings import decoded
from headway.serving.http2 import hpack
from headway.serving.http2.requests import Request
from headway.serving.http2.stream import Reply
from headway.serving.messages import KEY_HEADERS, Head


class Status(IntEnum):
    """Those that are used here."""

    OK = 0
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


STATUSES = {
    400: Status.INVALID_ARGUMENT,
    404: Status.NOT_FOUND,
    408: Status.DEADLINE_EXCEEDED,
    413: Status.RESOURCE_EXHAUSTED,
    422: Status.INVALID_ARGUMENT,
    429: Status.RESOURCE_EXHAUSTED,
    431: Status.RESOURCE_EXHAUSTED,
    500: Status.INTERNAL,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}
"""By status of HTTP."""
PREFIX_BYTES = 5
_ENCODINGS = (b"identity", b"gzip", b"deflate")
_ACCEPTED = (b"grpc-accept-encoding", b",".join(_ENCODINGS))
_BEGIN = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_HEAD, _TRAILERS = hpack.encode(_BEGIN), hpack.encode(((b"grpc-status", b"0"),))
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_LONGEST_REASON = 2000
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS_MS = {b"H": 3_600_000, b"M": 60_000, b"S": 1000, b"m": 1, b"u": 1e-3, b"n": 1e-6}
_GRPC = re.compile(rb"application/grpc(\+proto)?( *;.*)?").fullmatch


class Headers(NamedTuple):
    """Of a call: the same for every one with the same headers."""

    head: Head
    encoding: bytes


def headers_of(request: Request) -> Headers | Reply:
    """A `Reply` refuses what is no call over gRPC."""
    fields = request.fields
    if request.method != b"POST":
        return _not_grpc(b"405", (b"allow", b"POST"))
    if not _GRPC(fields.get(b"content-type", b"")):
        return _not_grpc(b"415")
    encoding = fields.get(b"grpc-encoding", b"identity")
    if encoding not in _ENCODINGS:
        told = encoding[:100].decode("latin-1")
        return refusal(Status.UNIMPLEMENTED, f"grpc-encoding {told!r} is not read here", _ACCEPTED)
    try:
        deadline = _deadline(fields.get(b"grpc-timeout"))
    except BadTensor as error:
        return refusal(Status.INVALID_ARGUMENT, str(error))
    return Headers(
        Head(
            key=fields.get(b"headway-key", b""),
            caller=fields.get(b"headway-caller", b""),
            traceparent=fields.get(b"traceparent", b""),
            deadline=deadline,
            named={name: fields[name] for name in KEY_HEADERS.names if name in fields} or None,
        ),
        encoding,
    )


def message_in(body: bytes, encoding: bytes, most_bytes: int) -> bytes | Awaitable[bytes]:
    """The one message of a call, which takes a moment when it is compressed. Raises, also when awaited, `Refusal`."""
    if len(body) < PREFIX_BYTES or (size := int.from_bytes(body[1:PREFIX_BYTES])) > len(body) - PREFIX_BYTES:
        raise Refusal(Status.INVALID_ARGUMENT, "the call ends before its message")
    if size < len(body) - PREFIX_BYTES:
        raise Refusal(Status.UNIMPLEMENTED, "a call takes one message")
    if body[0] == 0:
        return body[PREFIX_BYTES:]
    if body[0] != 1 or encoding == b"identity":
        raise Refusal(Status.INTERNAL, "the message is marked as compressed, but grpc-encoding says that it is not")
    return _unpacked(body[PREFIX_BYTES:], encoding, most_bytes)


class Refusal(Exception):
    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.reply = refusal(status, reason)


def success(message: bytes) -> Reply:
    return Reply(_HEAD, b"\0" + len(message).to_bytes(4) + message, _TRAILERS)


def refusal(status: Status, reason: str, *more: hpack.Field) -> Reply:
    """Headers and trailers in one, as there is no message between them."""
    told = quote_from_bytes(reason.encode()[:_LONGEST_REASON], safe=_PLAIN).encode()
    return Reply(hpack.encode((*_BEGIN, (b"grpc-status", b"%d" % status), (b"grpc-message", told), *more)))


def _not_grpc(status: bytes, *more: hpack.Field) -> Reply:
    """A client that does not speak gRPC is told so in HTTP, and one that does finds a status, too."""
    reason = b"this port speaks gRPC: POST, with content-type application/grpc"
    told = (b"grpc-status", b"%d" % Status.UNKNOWN), (b"grpc-message", reason)
    return Reply(hpack.encode(((b":status", status), *told, *more)))


def _deadline(timeout: bytes | None) -> bytes:
    """As `Head` has it; raises `BadTensor`."""
    if timeout is None:
        return b""
    found = _TIMEOUT(timeout)
    if found is None:
        raise BadTensor(f"grpc-timeout must be up to eight digits and a unit of H, M, S, m, u, n, not {timeout[:50]!r}")
    return b"%.6f" % min(int(found[1]) * _UNITS_MS[found[2]], LONGEST_MS)


async def _unpacked(message: bytes, encoding: bytes, most_bytes: int) -> bytes:
    return await asyncio.to_thread(decoded, message, encoding, most_bytes)
