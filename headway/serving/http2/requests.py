"""What a field block asks, held to the rules for requests (RFC 9113, 8.2 and 8.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from headway.serving.http2.codes import Code, StreamFault
from headway.serving.http2.hpack import Field

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_NO_VALUE = re.compile(rb"[\0\r\n]").search
"""Space around a value is let be: gRPC's metadata may have it."""
_OF_CONNECTIONS = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_MUST = (b":method", b":scheme", b":path")
_LONGEST_NUMBER = 18


class Request(NamedTuple):
    method: bytes
    path: bytes
    fields: dict[bytes, bytes]
    """All others; of several with one name the last."""
    size: int | None
    """Bytes of the body, if the request says."""


def request_in(fields: Sequence[Field]) -> Request:
    """Raises `StreamFault` for what is no request."""
    pseudo, others = dict[bytes, bytes](), dict[bytes, bytes]()
    for name, value in fields:
        if name[:1] == b":":
            if others or name in pseudo or name not in _PSEUDO or _NO_VALUE(value):
                raise StreamFault(Code.PROTOCOL_ERROR)
            pseudo[name] = value
        else:
            _check(name, value)
            others[name] = value
    if not all(pseudo.get(name) for name in _MUST):
        raise StreamFault(Code.PROTOCOL_ERROR)
    return Request(pseudo[b":method"], pseudo[b":path"], others, _size(others.get(b"content-length")))


def check_trailers(fields: Sequence[Field]) -> None:
    """Raises `StreamFault` for what may not stand behind a request."""
    for name, value in fields:
        _check(name, value)


def _check(name: bytes, value: bytes) -> None:
    if not _NAME(name) or _NO_VALUE(value) or name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
        raise StreamFault(Code.PROTOCOL_ERROR)


def _size(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > _LONGEST_NUMBER:
        raise StreamFault(Code.PROTOCOL_ERROR)
    return int(value)
