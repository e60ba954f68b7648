"""What a request says outside its body, and what an answer is: all that the languages of this server know of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

JSON, BINARY = b"application/json", b"application/octet-stream"
TEXT = b"text/plain; charset=utf-8"


class Answer(NamedTuple):
    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Head(msgspec.Struct, gc=False):
    """The headers that matter here, as they came, and the version that the path names; empty where there is none. What
    the front knows of the request itself stands last."""

    key: bytes = b""
    json_size: bytes = b""
    content_type: bytes = b""
    content_encoding: bytes = b""
    accept_encoding: bytes = b""
    expect: bytes = b""
    deployment: bytes = b""
    caller: bytes = b""
    traceparent: bytes = b""
    deadline: bytes = b""
    """Milliseconds from the request's arrival to when its answer is of no use any more."""
    version: str = ""
    peer: bytes = b""
    """The client's address."""
    arrived_ns: int = 0
    named: dict[bytes, bytes] | None = None
    """Those that a deployment of this process takes keys from (`KEY_HEADERS`)."""


FIELDS = {
    b"headway-key": "key",
    b"inference-header-content-length": "json_size",
    b"content-type": "content_type",
    b"content-encoding": "content_encoding",
    b"accept-encoding": "accept_encoding",
    b"expect": "expect",
    b"headway-deployment": "deployment",
    b"headway-caller": "caller",
    b"traceparent": "traceparent",
    b"headway-deadline-ms": "deadline",
}


class KeyHeaders:
    """The headers that deployments of this process take the keys of their callers from. Used on the event loop alone;
    what was understood of heads before one is added holds no more, which `listeners` are told."""

    def __init__(self) -> None:
        self.names: frozenset[bytes] = frozenset()
        self.listeners: list[Callable[[], None]] = []

    def add(self, name: bytes) -> None:
        if name not in self.names:
            self.names |= {name}
            for listener in self.listeners:
                listener()


KEY_HEADERS = KeyHeaders()


def note_header(head: Head, name: bytes, value: bytes) -> None:
    """Keep a header, if it matters here; `name` is in lower case."""
    if (field := FIELDS.get(name)) is not None:
        setattr(head, field, value)
    elif name in KEY_HEADERS.names:
        head.named = {**(head.named or {}), name: value}


def head_of(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    head = Head()
    for name, value in headers:
        note_header(head, name, value)
    return head
