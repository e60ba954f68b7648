"""Memory over gRPC: it does not grow with calls, nor with clients that come, misbehave and go."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest

from headway.lifecycle.rollouts.routing import Route, RoutingTable
from headway.serving.grpc.answers import RawAnswers, TypedAnswers
from headway.serving.heap import resident_bytes as own_resident_bytes
from headway.serving.http2 import frames
from headway.serving.http2.codes import Code
from headway.serving.http2.frames import frame, reset, window_update
from tests.serving.conftest import StartServer
from tests.serving.http2.peers import HELLO, data, headers
from tests.serving.processes import Blobs
from tests.serving.test_grpc_calls import INFER, Both, framed
from tests.serving.test_grpc_turn import request
from tests.serving.test_memory import _MIB, _MOST_GROWTH, resident_bytes
from tests.serving.test_turn import SIGNATURE as NUMBERS
from tests.serving.test_turn import TREES, WIDTH, loaded

LOOKS, CONNECTIONS, ROUNDS, TOGETHER = 20, 10, 40, 50
GRPC = (b"content-type", b"application/grpc")


def calls(first: int, body: bytes) -> bytes:
    numbers = range(first, first + 2 * TOGETHER, 2)
    return b"".join(headers(number, INFER.encode(), GRPC) + data(number, body) for number in numbers)


def read_answers(connection: socket.socket, left: bytes, count: int) -> bytes:
    """Read so many ends of streams; what is left of the bytes."""
    while count:
        left += connection.recv(2**18)
        at = 0
        while len(left) - at >= frames.HEAD_BYTES:
            upper, lower, kind, flags, _ = frames.read_head(left, at)
            stop = at + frames.HEAD_BYTES + (upper << 8 | lower)
            if stop > len(left):
                break
            count -= kind == frames.HEADERS and bool(flags & frames.END_STREAM)
            at = stop
        left = left[at:]
    return left


def ask_many(place: tuple[str, int], body: bytes) -> None:
    with socket.create_connection(place, timeout=30) as connection:
        connection.sendall(HELLO + window_update(0, 2**30))
        left = b""
        for turn in range(ROUNDS):
            connection.sendall(calls(2 * TOGETHER * turn + 1, body))
            left = read_answers(connection, left, TOGETHER)


def misbehave(place: tuple[str, int], body: bytes) -> None:
    """Large bodies that never end, calls that are cancelled or not waited for, and frames that break the rules."""
    part = data(1, bytes(frames.FRAME_BYTES), end=False)
    wrong: Any = (
        HELLO + headers(1, INFER.encode(), GRPC) + part * 100,
        HELLO + calls(1, body) + b"".join(reset(number, Code.CANCEL) for number in range(1, 2 * TOGETHER, 2)),
        HELLO + calls(1, body)[:-3],
        HELLO + frame(frames.PING, 0, 0, bytes(8)) * 2000,
        HELLO + headers(1, INFER.encode(), GRPC) + frame(frames.HEADERS, 4, 3, b"\xff\xff\xff\xff\xff"),
    )
    for sent in wrong:
        with socket.create_connection(place, timeout=30) as connection:
            connection.sendall(sent)


@pytest.mark.parametrize("tellers", [RawAnswers, TypedAnswers])
def test_an_answer_leaves_nothing_behind(tellers: type[RawAnswers | TypedAnswers]) -> None:
    tell = tellers("50%", loaded(TREES, "rl_n", 100))
    outputs = [np.ones(TOGETHER, np.int64), np.full((TOGETHER, 2), 0.5, np.float32)]
    ids, begin = [f"{number:032}" for number in range(TOGETHER)], 0
    for turn in range(4000):
        if turn == 100:
            begin = own_resident_bytes()
        assert len(tell(ids, outputs)) == TOGETHER
    assert own_resident_bytes() - begin < 4 * _MIB  # a copy of the id for each would be 6


@pytest.mark.slow
def test_memory_is_flat_over_many_calls_and_clients(start_server: StartServer, blobs: Blobs) -> None:
    route = Route(release="rl_n", model="m", version=1, blob=blobs.put(TREES), signature=NUMBERS, percent=100)
    own = Both(start_server, table=RoutingTable(deployment="50%", generation=1, routes=(route,)))
    place, body = ("127.0.0.1", own.port), framed(request([0.5] * WIDTH, raw=True).SerializeToString())
    seen = []
    for _ in range(LOOKS):
        for _ in range(CONNECTIONS):
            ask_many(place, body)
            misbehave(place, body)
        for path in own.server.spool.glob("*.parquet"):
            path.unlink(missing_ok=True)
        seen.append(resident_bytes(own.server))
    assert own.server.status()["releases"]["rl_n"]["requests"] >= LOOKS * CONNECTIONS * ROUNDS * TOGETHER
    later = np.array(seen[len(seen) // 4 :], dtype=float)  # once arenas and queues have their size
    slope = np.polyfit(np.arange(len(later)), later, 1)[0] * len(later)
    assert slope < _MOST_GROWTH, [each // _MIB for each in seen]
    assert '"level":"ERROR"' not in own.server.log.read_text()
