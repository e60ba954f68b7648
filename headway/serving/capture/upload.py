"""One PUT over HTTP/1.1, by the parser that a model server has loaded anyway.

Not httpx2, nor the standard library's client: for one PUT a second the first would add 16 MiB to each server and 0.1 s
to its start, the second more than 1 MiB.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import httptools

_PORTS = {"http": 80, "https": 443}
_TIMEOUT_S, _SHORTEST_S = 10.0, 0.001
_MOST_ANSWER_BYTES = 1_000_000
_READ_BYTES = 65_536


class _Answer:
    """What the parser calls."""

    begun = over = False
    bytes = 0

    def on_headers_complete(self) -> None:
        self.begun = True

    def on_message_complete(self) -> None:
        self.over = True


def put(url: str, data: bytes, headers: Mapping[str, str], timeout_s: float = _TIMEOUT_S) -> int:
    """The status that is answered within `timeout_s`; raises `OSError` where none is."""
    ends_s = time.monotonic() + timeout_s
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise OSError(f"{url!r} is no address of HTTP")
    with socket.create_connection((parts.hostname, parts.port or _PORTS[parts.scheme]), timeout_s) as plain:
        request = _head(parts, len(data), headers) + data
        if parts.scheme == "http":
            return _asked(plain, request, ends_s)
        with ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname) as secured:
            return _asked(secured, request, ends_s)


def _head(parts: SplitResult, size: int, headers: Mapping[str, str]) -> bytes:
    host = parts.netloc.rpartition("@")[2]
    told = {"Host": host, "Content-Length": str(size), "Connection": "close", **headers}
    lines = [f"PUT {parts.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    if not all(line.isprintable() and line.isascii() for line in lines):
        raise OSError("an address or a header of the control plane has letters that HTTP does not take")
    return "\r\n".join([*lines, "", ""]).encode()


def _asked(connection: socket.socket, request: bytes, ends_s: float) -> int:
    """The whole answer is read: a server that is hung up on would note a failure."""
    connection.sendall(request)
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.over:
        connection.settimeout(max(ends_s - time.monotonic(), _SHORTEST_S))
        piece = connection.recv(_READ_BYTES)
        answer.bytes += len(piece)
        if not piece or answer.bytes > _MOST_ANSWER_BYTES:
            break
        try:
            parser.feed_data(piece)
        except httptools.HttpParserError as error:
            raise OSError(f"what answers there does not speak HTTP: {error}") from error
    if not answer.begun:
        raise OSError("the connection was closed before an answer")
    return int(parser.get_status_code())
