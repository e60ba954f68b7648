"""Connections, byte by byte: bounds on heads, slow clients, and answers that stay in the order of their requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.door import Door
from headway.serving.http.connection import MOST_HEAD_BYTES, MOST_HEADERS, Connection
from headway.serving.http.listener import Listener
from headway.serving.messages import Answer, Head
from headway.serving.sockets import listening_socket
from headway.serving.turn import Tell, Turn
from tests.serving.conftest import MakeTable, StartServer
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
        connection.sendall(part)
        assert statuses(rest(connection)) == [408]


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


def zipped(identifier: str) -> bytes:
    """A request that is unpacked in a thread, so that its answer takes longer than that of the next one."""
    body = gzip.compress(json.dumps(request(70.0, id=identifier)).encode())
    head = b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def chunked(identifier: str) -> bytes:
    body = json.dumps(request(70.0, id=identifier)).encode()
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:50], body[50:]))
    return b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % parts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([infer, zipped, chunked]), min_size=1, max_size=12),
    st.lists(st.integers(1, 3000), max_size=6, unique=True).map(sorted),
)
def test_answers_do_not_depend_on_how_the_bytes_arrive(server: Server, kinds: list[Any], cuts: list[int]) -> None:
    wanted = [f"c-{place}" for place in range(len(kinds))]
    stream = b"".join(kind(name) for kind, name in zip(kinds, wanted, strict=True))
    stream += LIVE.replace(b"host: x", b"connection: close")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            connection.sendall(stream[start:end])
            time.sleep(0.0005)
        answers = rest(connection)
    assert ids(answers) == wanted
    assert statuses(answers) == [200] * (len(kinds) + 1)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([infer("g"), LIVE, b"\r\n", b"POST ", b"0\r\n\r\n"]), max_size=6)
)
def test_whatever_comes_ends_in_answers_or_a_refusal(server: Server, parts: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"".join(parts))
        connection.shutdown(socket.SHUT_WR)
        answers = rest(connection)
    assert set(statuses(answers)) <= {200, 400, 404, 405, 422, 431}
    assert server.process.poll() is None


def test_many_slow_answers_wait_their_turn(line: socket.socket) -> None:
    wanted = [f"z-{place}" for place in range(200)]
    line.sendall(b"".join(map(zipped, wanted)) + LIVE.replace(b"host: x", b"connection: close"))
    assert ids(rest(line)) == wanted


def test_a_client_that_has_said_all_gets_its_answers(line: socket.socket) -> None:
    line.sendall(zipped("a") + infer("b"))
    line.shutdown(socket.SHUT_WR)
    assert ids(rest(line)) == ["a", "b"]


def test_a_client_may_ask_whether_to_go_on(line: socket.socket) -> None:
    whole = infer("e").replace(b"host: x", b"host: x\r\nexpect: 100-continue")
    head_, _, body = whole.partition(b"\r\n\r\n")
    line.sendall(head_ + b"\r\n\r\n")
    assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.sendall(body)
    assert ids(one(line)) == ["e"]


def test_another_protocol_is_not_offered(line: socket.socket) -> None:
    line.sendall(LIVE.replace(b"host: x", b"connection: upgrade, http2-settings\r\nupgrade: h2c"))
    assert statuses(rest(line)) == [200]


def test_an_answer_to_head_has_no_body(line: socket.socket) -> None:
    line.sendall(LIVE.replace(b"GET", b"HEAD") + LIVE.replace(b"host: x", b"connection: close"))
    answers = rest(line)
    assert len(statuses(answers)) == 2
    assert answers.partition(b"\r\n\r\n")[2].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [b"http://x/v2/health/live?a=b", b"/v2/health%2Flive", b"/v2/health/live?x"])
def test_ways_to_write_a_path(line: socket.socket, path: bytes) -> None:
    line.sendall(LIVE.replace(b"/v2/health/live", path))
    assert statuses(one(line)) == [200]


def test_a_body_far_too_large_is_refused_while_it_comes(small: Server) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
        connection.sendall(b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
        connection.sendall(b" " * 20_000)
        assert statuses(rest(connection)) == [413]


def test_a_client_that_does_not_read_is_dropped(start_server: StartServer, table: MakeTable) -> None:
    server = start_server(table(), "--request-timeout-s", "0.4")
    many = request([70.0] * 2000, ["UA"] * 2000)
    body = json.dumps(many).encode()
    sent = b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection, pytest.raises(ConnectionError):
        connection.sendall(sent * 1000)
    assert server.infer(request())[0] == 200


def test_what_was_asked_is_answered_before_the_end(start_server: StartServer) -> None:
    server = start_server()
    place = ("127.0.0.1", server.port)
    with socket.create_connection(place, timeout=10) as idle, socket.create_connection(place, timeout=10) as connection:
        connection.sendall(infer("last")[:-5])
        time.sleep(0.2)
        server.process.terminate()
        assert rest(idle) == b""
        connection.sendall(infer("last")[-5:])
        answer = rest(connection)
    assert ids(answer) == ["last"]
    assert b"connection: close" in answer
    assert server.process.wait(20) == 0


class Failing:
    """A core that answers later, and fails at it."""

    most_bytes, door, turn = 1000, Door(), Turn()

    def put_off(self, path: str, head: Head, body: bytes, peer: bytes, tell: Tell) -> bool:
        return False

    async def respond_later(self) -> Answer:
        raise RuntimeError("something unforeseen")

    def respond(self, method: str, path: str, head: Head, body: bytes | None) -> Any:
        return self.respond_later() if path == "/fails" else Answer(200, b"{}")


def test_a_core_that_fails_still_answers_and_the_connection_goes_on() -> None:
    async def asked() -> bytes:
        listener: Any = Listener(Failing(), request_timeout_s=5)  # type: ignore[arg-type]
        listener.loop = asyncio.get_running_loop()
        server = await listener.loop.create_server(lambda: Connection(listener), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for path in (b"/fails", b"/works"):
            writer.write(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
        writer.write(b"GET /works HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answers = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        server.close()
        return answers

    assert statuses(asyncio.run(asked())) == [500, 200, 200]


class Stopping(Failing):
    async def start(self) -> None: ...

    async def meet(self) -> None: ...

    async def stop(self) -> None: ...


def test_what_is_asked_on_an_open_connection_while_the_server_stops_is_answered() -> None:
    """And the answer says that the connection ends, so that the next request goes elsewhere."""

    async def asked() -> bytes:
        listener = Listener(Stopping(), request_timeout_s=5)  # type: ignore[arg-type]
        listening = listening_socket("127.0.0.1", 0)
        served = asyncio.create_task(listener.serve(listening))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"GET /works HTTP/1.1\r\nhost: x\r\n\r\n")
        first = await reader.readuntil(b"{}")
        os.kill(os.getpid(), signal.SIGTERM)
        while not listener.draining:
            await asyncio.sleep(0)
        writer.write(b"GET /works HTTP/1.1\r\nhost: x\r\n\r\n")
        last = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await served
        return first + last

    answers = asyncio.run(asked())
    assert statuses(answers) == [200, 200]
    assert answers.lower().count(b"connection: close") == 1
