"""What a request says outside its body, and what an answer is: all that the languages of this server know of HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import NamedTuple, Protocol

import msgspec

JSON, BINARY = b"application/json", b"application/octet-stream"
TEXT = b"text/plain; charset=utf-8"


class Answer(NamedTuple):
    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Head(msgspec.Struct, gc=False):
    """The headers that matter here, as they came, and the version that the path names; empty where there is none."""

    key: bytes = b""
    json_size: bytes = b""
    content_type: bytes = b""
    content_encoding: bytes = b""
    accept_encoding: bytes = b""
    expect: bytes = b""
    deployment: bytes = b""
    version: str = ""


class Core(Protocol):
    """What a front needs of that which answers."""

    most_bytes: int

    async def start(self) -> None: ...

    async def meet(self) -> None: ...

    async def stop(self) -> None: ...

    def respond(self, method: str, path: str, head: Head, body: bytes | None) -> Answer | Awaitable[Answer]: ...


FIELDS = {
    b"headway-key": "key",
    b"inference-header-content-length": "json_size",
    b"content-type": "content_type",
    b"content-encoding": "content_encoding",
    b"accept-encoding": "accept_encoding",
    b"expect": "expect",
    b"headway-deployment": "deployment",
}


def head_of(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    head = Head()
    for name, value in headers:
        if (field := FIELDS.get(name)) is not None:
            setattr(head, field, value)
    return head
