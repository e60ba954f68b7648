"""Requests of one turn whose model fails get their answer from a worker, later, and nobody gets another's."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psutil  # type: ignore[import-untyped]
import pytest

from headway.lifecycle.models.records import PythonRuntime
from headway.lifecycle.rollouts.routing import FallbackRoute, Route, RoutingTable
from headway.serving.grpc.messages import MESSAGES
from headway.serving.http.connection import _MOST_WAITING
from tests.serving.conftest import StartServer
from tests.serving.processes import Blobs, Server
from tests.serving.test_fallback import CONSTANT, ENDS, INFER, RAISES, bounded
from tests.serving.workers import SIGNATURE, kept, route, rows, stand_in

FAILS, SLOW = 100.0, 7008.0
"""The model fails at both; the worker that stands in takes half a second for the latter."""
LINGER_NOT = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stand_in(tmp_path_factory.mktemp("stand-in"))


Begin = Callable[..., Server]


@pytest.fixture(scope="module")
def begin(start_server: StartServer, blobs: Blobs, python: str) -> Begin:
    """Starts a server with an ONNX model that a worker stands in for, and behind that a constant."""
    first = Route(
        release="rl_b", model="bounded", version=1, blob=blobs.put(bounded()), signature=SIGNATURE, percent=100
    )  # fmt: skip
    patient = PythonRuntime(python=python, time_limit_s=20.0, memory_mb=2048)
    spare = route(kept(blobs), python, percent=0).but(python=patient)
    table = RoutingTable(
        deployment="flights", generation=1, routes=(first,), fallback=FallbackRoute(route=spare, constant=CONSTANT)
    )
    return lambda *options: start_server(table, *options)


@pytest.fixture(scope="module")
def backed(begin: Begin) -> Iterator[Server]:
    started = begin()
    yield started
    started.stop()


@pytest.fixture
def line(backed: Server) -> Iterator[socket.socket]:
    backed.wait(lambda: told(exchanged(backed, [FAILS])) == [(200, "o-0", "rl_w", [202.0])])
    with opened(backed) as connection:
        yield connection


def opened(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def asks(firsts: Iterable[float], *, last: bytes = b"host: x", name: str = "o") -> bytes:
    """One request behind the other; `last` is a header of the last one."""
    bodies = [json.dumps({**rows((first, 2)), "id": f"{name}-{at}"}).encode() for at, first in enumerate(firsts)]
    headers = [b"host: x"] * (len(bodies) - 1) + [last]
    head = b"POST %b HTTP/1.1\r\n%b\r\ncontent-length: %d\r\n\r\n"
    return b"".join(
        head % (INFER.encode(), header, len(body)) + body for header, body in zip(headers, bodies, strict=True)
    )


def rest(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def exchanged(server: Server, firsts: Iterable[float]) -> bytes:
    with opened(server) as connection:
        connection.sendall(asks(firsts, last=b"connection: close"))
        return rest(connection)


def told(answers: bytes) -> list[tuple[int, str, str, list[float]]]:
    """Of each answer its status, its id, what answered if not the model, and what it said."""
    found = []
    for answer in answers.split(b"HTTP/1.1 ")[1:]:
        head, _, body = answer.partition(b"\r\n\r\n")
        said = json.loads(body)
        by = re.findall(rb"headway-fallback: (\S+)", head)
        found.append((int(head[:3]), said["id"], b"".join(by).decode(), said["outputs"][0]["data"]))
    return found


def expected(firsts: Iterable[float], name: str = "o") -> list[tuple[int, str, str, list[float]]]:
    return [
        (200, f"{name}-{at}", "rl_w" if first > 7 else "", [first * 2 + 2 if first > 7 else first / 8])
        for at, first in enumerate(firsts)
    ]


MIXED = [1, FAILS, 2, 3, SLOW, 200, 300, 4, 5, SLOW, 6]


def test_late_and_prompt_answers_keep_the_order_of_what_was_asked(line: socket.socket) -> None:
    """Also behind a head that was read before, in pieces that each are a turn of their own, and to the last one."""
    line.sendall(asks([0.0]))
    assert told(line.recv(65536)) == expected([0.0])
    for _ in range(2):
        line.sendall(asks(MIXED))
    line.sendall(asks(MIXED, last=b"connection: close"))
    assert told(rest(line)) == expected(MIXED) * 3


def test_more_than_may_wait(line: socket.socket) -> None:
    firsts = [SLOW, *([1, FAILS, 2] * _MOST_WAITING), SLOW, *([3.0] * 2 * _MOST_WAITING)]
    line.sendall(asks(firsts, last=b"connection: close"))
    assert told(rest(line)) == expected(firsts)


def test_what_else_is_asked_waits_behind_them(line: socket.socket) -> None:
    line.sendall(asks([SLOW, 1]) + b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n" + b"nonsense\r\n\r\n")
    answers = rest(line)
    late, prompt, page = answers.split(b"HTTP/1.1 200 OK")[1:]
    assert told(b"".join(b"HTTP/1.1 200 OK" + each for each in (late, prompt))) == expected([SLOW, 1])
    assert json.loads(page.partition(b"\r\n\r\n")[2])["name"] == "headway"


def test_a_client_that_has_said_all_gets_them(line: socket.socket) -> None:
    line.sendall(asks([FAILS, 1, SLOW, 2]))
    line.shutdown(socket.SHUT_WR)
    assert told(rest(line)) == expected([FAILS, 1, SLOW, 2])


def test_a_client_that_is_gone_meanwhile_costs_nobody_an_answer(backed: Server, line: socket.socket) -> None:
    """What the model was asked for it is counted all the same."""
    before = counted(backed)
    firsts = [1, SLOW, 2, SLOW, *([FAILS] * _MOST_WAITING), 3]
    line.sendall(asks(firsts))
    assert told(line.recv(65536)) == expected([1])
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    line.close()
    assert told(exchanged(backed, [4, FAILS])) == expected([4, FAILS])
    late = _MOST_WAITING + 3
    backed.wait(lambda: counted(backed) == (before[0] + len(firsts) + 2, before[1] + late))
    assert "answer not sent" not in backed.log.read_text()
    assert "request failed" not in backed.log.read_text()


def counted(server: Server) -> tuple[int, int]:
    """Requests that were answered, and those that the worker answered."""
    found = server.status()["releases"]["rl_b"]
    assert set(found["statuses"]) == {"200"}
    return found["statuses"]["200"], found["fallbacks"]["rl_w"]


def test_a_thousand_of_several_connections(begin: Begin) -> None:
    server = begin()
    each = [FAILS + at for at in range(125)]
    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(lambda _: exchanged(server, each), range(8)):
            assert told(answers) == expected(each)
    assert counted(server) == (1000, 1000)
    captured = server.rows()
    assert captured["_fallback"].to_list() == ["rl_w"] * 1000
    assert sorted(captured["_score"]) == sorted([first * 2 + 2 for first in each] * 8)
    assert server.stop() == 0


def test_a_worker_that_raises_or_ends_leaves_the_constant(backed: Server, line: socket.socket) -> None:
    """Those behind it may find it gone, until it is started anew."""
    line.sendall(asks([1, RAISES, 2, ENDS, FAILS, 3], last=b"connection: close"))
    answers = told(rest(line))
    assert [(status, identifier) for status, identifier, *_ in answers] == [(200, f"o-{at}") for at in range(6)]
    assert [by for *_, by, _ in answers[:4]] == ["", "constant", "", "constant"]
    assert answers[4][2:] in (("constant", [0.25]), ("rl_w", [FAILS * 2 + 2]))
    assert answers[5] == expected([0, 0, 0, 0, 0, 3])[5]


def test_a_worker_that_is_killed_while_it_is_waited_for(begin: Begin) -> None:
    server = begin()
    [worker] = psutil.Process(server.process.pid).children()
    with opened(server) as connection:
        connection.sendall(asks([1, SLOW, 2, FAILS, 3], last=b"connection: close"))
        prompt = connection.recv(65536)
        os.kill(worker.pid, signal.SIGKILL)
        answers = told(prompt + rest(connection))
    assert [(status, identifier) for status, identifier, *_ in answers] == [(200, f"o-{at}") for at in range(5)]
    assert [by for *_, by, _ in answers[:3]] == ["", "constant", ""]
    server.wait(lambda: told(exchanged(server, [FAILS])) == expected([FAILS]))
    assert server.stop() == 0


def test_what_is_owed_is_answered_before_the_end(begin: Begin) -> None:
    server = begin()
    firsts = [1, SLOW, 2, FAILS, 3]
    with opened(server) as connection:
        connection.sendall(asks(firsts))
        prompt = connection.recv(65536)
        server.process.terminate()
        assert told(prompt + rest(connection)) == expected(firsts)
    assert server.process.wait(20) == 0


def test_one_that_waits_is_not_taken_for_silent_and_one_that_is_not_whole_is(begin: Begin) -> None:
    server = begin("--request-timeout-s", "0.4")
    with opened(server) as connection:
        connection.sendall(asks([SLOW, 1, SLOW, 2]) + asks([3])[:-5])
        answers = rest(connection)
    whole, refused, _ = answers.partition(b"HTTP/1.1 408 ")
    assert told(whole) == expected([SLOW, 1, SLOW, 2])
    assert refused
    server.stop()


def test_over_grpc_each_call_is_answered_when_its_answer_is_there(begin: Begin) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = begin("--grpc-port", address.rpartition(":")[2])
    order = list[str]()

    def call(method: Any, first: float, at: int) -> Any:
        asked = MESSAGES["ModelInferRequest"](model_name="flights", id=f"o-{at}")
        asked.inputs.add(name="input", datatype="FP64", shape=[1, 2]).contents.fp64_contents.extend([first, 2])
        future = method.future(asked.SerializeToString(), timeout=30)
        future.add_done_callback(lambda _: order.append(f"o-{at}"))
        return future

    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        gone, *calls = [call(method, first, at) for at, first in enumerate([SLOW, *MIXED])]
        gone.cancel()
        said = [MESSAGES["ModelInferResponse"].FromString(each.result()) for each in calls]
    found = [
        (200, each.id, each.parameters["fallback"].string_param if "fallback" in each.parameters else "",
         list(each.outputs[0].contents.fp64_contents)) for each in said
    ]  # fmt: skip
    assert found == expected([0, *MIXED])[1:]
    assert order.index("o-1") < order.index("o-5"), "who is prompt does not wait for who is late"
    assert order.index("o-11") < order.index("o-5")
    assert server.stop() == 0


def test_late_answers_are_packed_as_others_are(line: socket.socket) -> None:
    pairs = [(FAILS, 2)] * 200
    body = json.dumps(rows(*pairs)).encode()
    head = b"POST %b HTTP/1.1\r\naccept-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    line.sendall(head % (INFER.encode(), len(body)) + body + asks([1], last=b"connection: close"))
    late, prompt = rest(line).split(b"HTTP/1.1 ")[1:]
    start, _, packed = late.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in start
    assert json.loads(gzip.decompress(packed))["outputs"][0]["data"] == [202.0] * 200
    assert told(b"HTTP/1.1 " + prompt) == expected([1])
