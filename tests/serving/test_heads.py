"""A head that was read before means what it meant, and only then."""

from __future__ import annotations

import json
import re
import socket

import pytest

from headway.serving.capture.pace import LONGEST_S, SHORTEST_S, Pace
from headway.serving.http.heads import MOST_BYTES, MOST_HEADS, MOST_TOGETHER_BYTES, Heads
from headway.serving.messages import Head
from tests.serving.processes import Server, request

PATH = "/v2/models/flights/infer"


def posted(identifier: str, *headers: str) -> bytes:
    body = json.dumps(request(70.0, id=identifier)).encode()
    lines = "".join(f"{each}\r\n" for each in ("host: x", *headers))
    return f"POST {PATH} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def test_what_is_kept() -> None:
    heads, data = Heads(), posted("a")
    size = data.find(b"\r\n\r\n") + 4
    heads.keep(data, PATH, Head(content_type=b"c"), len(data) - size)
    known = heads.get(data[:size])
    assert known is not None
    assert (known.path, known.head.content_type, known.whole_bytes) == (PATH, b"c", len(data))
    for head in (Head(key=b"k"), Head(deadline=b"5"), Head(expect=b"100-continue"), Head(content_encoding=b"gzip")):
        heads.keep(b"X" + data, PATH, head, len(data) - size)
    heads.keep(b"X" + data, PATH, Head(), 3)  # in chunks, or with more behind it
    assert heads.get(b"X" + data[:size]) is None
    for at in range(MOST_HEADS):
        heads.keep(b"%d" % at + data, PATH, Head(), len(data) - size)
    assert heads.get(data[:size]) is None


def test_all_heads_together_take_no_more_than_they_may() -> None:
    heads, kept = Heads(), list[bytes]()
    for at in range(2 * MOST_TOGETHER_BYTES // MOST_BYTES):
        head = (b"%d" % at).ljust(MOST_BYTES - 4, b"x") + b"\r\n\r\n"
        heads.keep(head, PATH, Head(), 0)
        kept.append(head)
        assert heads.get(head) is not None
        assert sum(len(each) for each in kept if heads.get(each)) <= MOST_TOGETHER_BYTES


def exchanged(server: Server, *parts: bytes) -> list[tuple[int, str]]:
    """Status and id of each answer to what is sent, part by part, each after the answer to the one before."""
    found = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        for part in parts:
            line.sendall(part)
            wanted, answer = part.count(b"POST "), b""
            while answer.count(b'"id":') + answer.count(b'"error":') < wanted:
                chunk = line.recv(65536)
                if not chunk:
                    break
                answer += chunk
            statuses = [int(each) for each in re.findall(rb"HTTP/1\.1 (\d+)", answer)]
            ids = [each.decode() for each in re.findall(rb'"id":"([^"]*)"', answer)] or [""]
            found += list(zip(statuses, ids, strict=False))
    return found


def test_the_same_head_again_and_again(server: Server) -> None:
    asked = [posted(f"same-{at}") for at in range(5)]
    assert exchanged(server, *asked) == [(200, f"same-{at}") for at in range(5)]
    both = posted("one-a") + posted("two-b")
    assert exchanged(server, posted("first"), both, posted("fifth")) == [
        (200, "first"), (200, "one-a"), (200, "two-b"), (200, "fifth"),
    ]  # fmt: skip


def ended(server: Server, *parts: bytes) -> bytes:
    """All that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        for part in parts:
            line.sendall(part)
        answer = b""
        while chunk := line.recv(65536):
            answer += chunk
    return answer


def test_a_refusal_does_not_overtake_an_answer(server: Server) -> None:
    answer = ended(server, posted("ok-1") + posted("ok-2") + b"nonsense\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"200", b"400"]


def test_requests_cut_anywhere(server: Server) -> None:
    whole = posted("cut-1") + posted("cut-2") + posted("cut-3", "connection: close")
    for at in range(1, len(whole), 97):
        answer = ended(server, whole[:at], whole[at:])
        assert re.findall(rb'"id":"([^"]*)"', answer) == [b"cut-1", b"cut-2", b"cut-3"]


@pytest.mark.parametrize(
    ("headers", "status"), [(("connection: close",), b"200"), (("connection: upgrade", "upgrade: h2c"), b"400")]
)
def test_a_connection_that_is_to_end_ends_each_time(server: Server, headers: tuple[str, ...], status: bytes) -> None:
    """What asks for another protocol has no body for the parser."""
    for at in range(3):
        assert re.findall(rb"HTTP/1\.1 (\d+)", ended(server, posted(f"last-{at}", *headers))) == [status]


def test_pace() -> None:
    pace, waiting = Pace(), [True]
    assert pace.interval_s() == SHORTEST_S
    for _ in range(50):
        pace.join(lambda: waiting[0])
    pace.spent(0.004)
    assert SHORTEST_S < pace.interval_s() < LONGEST_S
    for _ in range(100):
        pace.spent(1.0)
    assert pace.interval_s() == LONGEST_S
    waiting[0] = False
    assert pace.interval_s() == SHORTEST_S
