"""Connections, byte by byte: bounds on heads, slow clients, and answers that stay in the order of their requests."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.connection import MOST_HEAD_BYTES, MOST_HEADERS
from tests.serving.conftest import StartServer
from tests.serving.processes import Server, request

LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def impatient(start_server: StartServer) -> Server:
    return start_server(None, "--request-timeout-s", "0.4")


@pytest.fixture
def line(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        yield connection


def infer(identifier: str, *, path: str = "/v2/models/flights/infer") -> bytes:
    body = json.dumps(request(70.0, id=identifier)).encode()
    return b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    chunks = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def one(connection: socket.socket) -> bytes:
    """One whole answer."""
    found = b""
    while True:
        found += connection.recv(65536)
        start, whole, body = found.partition(b"\r\n\r\n")
        if whole and len(body) >= int(start.partition(b"content-length: ")[2].split()[0]):
            return found


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answers)]


def ids(answers: bytes) -> list[str]:
    return [found.decode() for found in re.findall(rb'"id":"([^"]+)"', answers)]


def head(*headers: bytes) -> bytes:
    return b"GET /v2/health/live HTTP/1.1\r\n" + b"".join(each + b"\r\n" for each in headers) + b"\r\n"


def test_as_many_headers_as_are_taken(line: socket.socket) -> None:
    line.sendall(head(*(b"x-%d: 1" % place for place in range(MOST_HEADERS))))
    assert statuses(one(line)) == [200]
    line.sendall(head(b"x: " + b"y" * (MOST_HEAD_BYTES - 100)))
    assert statuses(one(line)) == [200]


@pytest.mark.parametrize(
    "sent",
    [
        head(*(b"x-%d: 1" % place for place in range(MOST_HEADERS + 1))),
        head(b"x: " + b"y" * MOST_HEAD_BYTES),
        head(b"x" * MOST_HEAD_BYTES + b": y"),
        b"GET /" + b"y" * MOST_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["many", "long value", "long name", "long path"],
)
def test_larger_heads_are_refused(line: socket.socket, sent: bytes) -> None:
    line.sendall(sent)
    answer = rest(line)
    assert statuses(answer) == [431]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("a request may have 64")


def test_a_head_without_end_is_refused_before_it_is_whole(line: socket.socket) -> None:
    line.sendall(b"GET /v2 HTTP/1.1\r\nx: ")
    answer = b""
    for _ in range(200):
        try:
            line.sendall(b"y" * 4096)
            time.sleep(0.001)
        except OSError:
            break
    answer = rest(line)
    assert statuses(answer) in ([431], [])


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nx y\r\n\r\n"])
def test_what_is_no_http(line: socket.socket, sent: bytes) -> None:
    line.sendall(sent)
    answer = rest(line)
    assert statuses(answer) == [400]
    assert list(json.loads(answer.partition(b"\r\n\r\n")[2])) == ["error"]


def test_a_silent_client_is_dropped(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        assert rest(connection) == b""


@pytest.mark.parametrize("part", [b"GET /v2 HT", infer("x")[:40], infer("x")[:-5]], ids=["line", "head", "body"])
def test_a_slow_client_is_timed_out(impatient: Server, part: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        began = time.monotonic()
        connection.sendall(part)
        assert statuses(rest(connection)) == [408]
        assert 0.3 < time.monotonic() - began < 5


def test_a_client_that_trickles_is_timed_out(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        for byte in infer("x")[:-1]:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.01)
        else:
            pytest.fail("the whole request was taken")
    assert impatient.infer(request())[0] == 200


def test_pipelined_answers_keep_their_order(line: socket.socket) -> None:
    wanted = [f"p-{place}" for place in range(300)]
    line.sendall(b"".join(map(infer, wanted)) + LIVE.replace(b"host: x", b"connection: close"))
    answers = rest(line)
    assert ids(answers) == wanted
    assert statuses(answers) == [200] * 301


def test_pipelined_requests_of_every_kind(line: socket.socket) -> None:
    line.sendall(infer("a") + LIVE + infer("b", path="/v2/models/nix/infer") + infer("c") + infer("d", path="/nix"))
    line.sendall(LIVE.replace(b"host: x", b"connection: close"))
    answers = rest(line)
    assert statuses(answers) == [200, 200, 404, 200, 404, 200]
    assert ids(answers) == ["a", "c"]


@pytest.mark.parametrize(
    "garbage", [b"nonsense\r\n\r\n", head(b"x: " + b"y" * MOST_HEAD_BYTES)], ids=["no HTTP", "head"]
)
def test_a_refusal_does_not_overtake_answers(line: socket.socket, garbage: bytes) -> None:
    line.sendall(infer("a") + infer("b") + garbage)
    answers = rest(line)
    assert ids(answers) == ["a", "b"]
    assert statuses(answers) in ([200, 200], [200, 200, 400], [200, 200, 431])


def test_a_request_in_single_bytes(line: socket.socket) -> None:
    for byte in infer("slow"):
        line.sendall(bytes([byte]))
    assert ids(one(line)) == ["slow"]


FIELDS = st.sampled_from(
    [b"inference-header-content-length", b"content-encoding", b"content-type", b"accept-encoding", b"headway-key", b"x"]
)
VALUES = st.binary(max_size=30) | st.sampled_from([b"0", b"-1", b"99999", b"gzip", b"deflate;q=2", b"*"])
PATHS = st.sampled_from(
    [b"/v2/models/flights/infer", b"/invocations", b"/v1/predict/flights", b"/v2/models/flights/versions/1/infer"]
)


@settings(max_examples=150, deadline=None)
@given(PATHS, st.lists(st.tuples(FIELDS, VALUES), max_size=4), st.binary(max_size=60))
def test_random_headers_and_bodies_get_a_4xx(server: Server, path: bytes, fields: list[Any], body: bytes) -> None:
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    sent = b"POST " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(sent + lines + b"\r\n" + body)
        [status] = statuses(rest(connection))
    assert 400 <= status < 500
    assert server.process.poll() is None
