"""The short way in: whatever it takes is answered as the long way answers it, in the order in which it was asked."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.kernel.access import Role
from headway.server.api import ways
from tests.server.serving import served
from tests.server.world import World

_LONG = "x-way: long\r\nx-way: long\r\n"
"""A head that says anything twice is none for the short way."""
_MLFLOW = "/api/2.0/mlflow/runs"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection, spoken to in bytes."""

    def __init__(self, client: httpx2.Client) -> None:
        self._socket = socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=60)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> Answer:
        head = b"".join(iter(self._file.readline, b"\r\n")).decode()
        status, *lines = head.splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if status.split()[1] == "100":
            return Answer(100, headers, b"")
        return Answer(int(status.split()[1]), headers, self._file.read(int(headers["content-length"])))

    def over(self) -> bool:
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with served(tmp_path_factory.mktemp("quick") / ".headway") as client:
        yield client


@contextmanager
def lined(server: httpx2.Client) -> Iterator[Line]:
    line = Line(server)
    try:
        yield line
    finally:
        line.close()


def request(server: httpx2.Client, path: str, body: Any, more: str = "", **headers: str | None) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields: dict[str, str | None] = {
        "host": f"{server.base_url.host}:{server.base_url.port}", "authorization": server.headers["authorization"],
        "content-type": "application/json", "content-length": str(len(content)), **headers,
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}{more}\r\n".encode() + content


def started(server: httpx2.Client) -> str:
    body = server.post(f"{_MLFLOW}/create", json={"experiment_id": "0", "start_time": 1_700_000_000_000}).json()
    return str(body["run"]["info"]["run_id"])


TAKEN = {
    "a metric": (f"{_MLFLOW}/log-metric", {}, True),
    "a page's call": ("/ajax-api/2.0/mlflow/runs/log-batch", {}, True),
    "ours": ("/v1/runs/rn_1/points", {}, True),
    "not written": (f"{_MLFLOW}/search", {}, False),
    "a query": (f"{_MLFLOW}/log-metric?a=1", {}, False),
    "escaped": ("/v1/runs/rn_%31/log", {}, False),
    "elsewhere": ("/v1/runs/rn_1/steps", {}, False),
    "too long": (f"{_MLFLOW}/log-metric", {b"content-length": b"9" * 7}, False),
    "no number": (f"{_MLFLOW}/log-metric", {b"content-length": b"-1"}, False),
    "of unknown length": (f"{_MLFLOW}/log-metric", {b"content-length": b""}, False),
    "to be asked for": (f"{_MLFLOW}/log-metric", {b"expect": b"100-continue"}, False),
    "of a page": (f"{_MLFLOW}/log-metric", {b"origin": b"http://localhost"}, False),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_taken_is_known_by_the_head(world: World, case: str) -> None:
    path, more, taken = TAKEN[case]
    assert ways(world.application).quick.takes(path.encode(), {b"content-length": b"9", **more}) is taken


def _without_run(body: bytes, run: str) -> bytes:
    return re.sub(rb"rn_[0-9a-z]{26}|\d{13}|[a-z]+-[a-z]+-\d+", b"?", body.replace(run.encode(), b"?"))


BODIES: dict[str, tuple[str, Any]] = {
    "metric": ("log-metric", {"key": "loss", "value": 0.5, "timestamp": 1_700_000_000_000, "step": 3}),
    "metric without a time": ("log-metric", {"key": "loss", "value": 0.5}),
    "NaN": ("log-metric", {"key": "loss", "value": "NaN", "timestamp": 1, "step": "4"}),
    "null": ("log-metric", {"key": "loss", "value": 1, "timestamp": 1, "step": None}),
    "no key": ("log-metric", {"value": 1.0, "timestamp": 1}),
    "no number": ("log-metric", {"key": "loss", "value": "high", "timestamp": 1}),
    "no step of ours": ("log-metric", {"key": "loss", "value": 1.0, "timestamp": 1, "step": 1 << 70}),
    "of a model that is not there": ("log-metric", {"key": "loss", "value": 1.0, "timestamp": 1, "model_id": "m-1"}),
    "key too long": ("log-metric", {"key": "k" * 300, "value": 1.0, "timestamp": 1}),
    "param": ("log-parameter", {"key": "depth", "value": "4"}),
    "param too long": ("log-parameter", {"key": "depth", "value": "4" * 7000}),
    "batch": ("log-batch", {"metrics": [{"key": "a", "value": 1, "timestamp": 5, "step": 0}] * 3}),
    "batch of all": ("log-batch", {"params": [{"key": "p", "value": "1"}], "tags": [{"key": "t", "value": "2"}]}),
    "batch too large": ("log-batch", {"metrics": [{"key": "a", "value": 1, "timestamp": 5}] * 1001}),
    "tag": ("set-tag", {"key": "team", "value": "blue"}),
    "no such tag": ("delete-tag", {"key": "absent"}),
    "end": ("update", {"status": "FINISHED", "end_time": 1_700_000_001_000}),
    "no such status": ("update", {"status": "ASLEEP"}),
    "create": ("create", {"experiment_id": "0", "run_name": "named", "start_time": 1_700_000_000_000}),
    "create nowhere": ("create", {"experiment_id": "999999"}),
    "unknown fields": ("set-tag", {"key": "team", "value": "blue", "colour": [[["x"]]]}),
}


@pytest.mark.parametrize("case", BODIES)
def test_mlflows_calls_are_answered_alike_both_ways(server: httpx2.Client, case: str) -> None:
    verb, body = BODIES[case]
    seen = []
    with lined(server) as line:
        for more in ("", _LONG):
            run = started(server)
            line.send(request(server, f"{_MLFLOW}/{verb}", body | {"run_id": run}, more))
            answer = line.answer()
            shown = server.get(f"{_MLFLOW}/get", params={"run_id": run}).json()
            kept = _without_run(json.dumps(shown, sort_keys=True).encode(), run)
            seen.append((answer.status, _without_run(answer.body, run), answer.headers["content-type"], kept))
    assert seen[0] == seen[1]


RAW = {
    "no object": b"[]",
    "no JSON": b"{",
    "no text": b'{"run_id": "\xff"}',
    "deep": b'{"key": ' + b"[" * 100_000,
    "empty": b"",
    "doubled": b'{"run_id": "rn_1", "run_id": "rn_2", "key": "a", "value": 1}',
}


@pytest.mark.parametrize("case", RAW)
@pytest.mark.parametrize("path", [f"{_MLFLOW}/log-metric", f"{_MLFLOW}/log-batch", "/v1/runs/rn_1/log"])
def test_rubbish_is_refused_alike_both_ways(server: httpx2.Client, path: str, case: str) -> None:
    with lined(server) as line:
        answers = []
        for more in ("", _LONG):
            line.send(request(server, path, RAW[case], more))
            answers.append(line.answer())
    assert answers[0].status == answers[1].status
    assert 400 <= answers[0].status < 500
    assert answers[0].body == answers[1].body


OWN: dict[str, tuple[str, Any, int]] = {
    "points": ("points", {"curves": {"loss": {"steps": [1, 2], "at_us": [1, 2], "values": [0.5, "NaN"]}}}, 200),
    "uneven": ("points", {"curves": {"loss": {"steps": [1, 2], "at_us": [1], "values": [0.5]}}}, 400),
    "log": ("log", {"metrics": [{"key": "loss", "value": 1.5, "at": "2026-01-01T00:00:00Z", "step": 1}]}, 200),
    "params": ("log", {"params": {"depth": "4"}, "tags": {"team": "blue"}}, 200),
    "misspelt": ("log", {"parms": {"depth": "4"}}, 400),
    "coerced": ("log", {"params": {"depth": 4}}, 400),
}


@pytest.mark.parametrize("case", OWN)
def test_our_own_calls_are_answered_alike_both_ways(server: httpx2.Client, case: str) -> None:
    verb, body, status = OWN[case]
    run = started(server)
    with lined(server) as line:
        for more in ("", _LONG):
            line.send(request(server, f"/v1/runs/{run}/{verb}", body, more))
        first, second = line.answer(), line.answer()
    assert (first.status, first.body) == (second.status, second.body)
    assert first.status == status


WHO = {
    "nobody": {"authorization": None},
    "a stranger": {"authorization": "Bearer hw_unknown"},
    "no scheme": {"authorization": "hw_unknown"},
    "a foreign name": {"host": "rebound.example"},
    "a foreign page": {"origin": "http://elsewhere.example"},
    "other content": {"content-type": "text/plain"},
    "no content": {"content-type": None},
}


@pytest.mark.parametrize("case", WHO)
def test_whom_the_guard_refuses_is_refused_alike_both_ways(server: httpx2.Client, case: str) -> None:
    body = {"run_id": started(server), "key": "a", "value": 1.0, "timestamp": 1}
    with lined(server) as line:
        for more in ("", _LONG):
            line.send(request(server, f"{_MLFLOW}/log-metric", body, more, **WHO[case]))
        first, second = line.answer(), line.answer()
    assert (first.status, first.body) == (second.status, second.body)
    assert 400 <= first.status < 500


def test_who_may_only_read_writes_nothing(server: httpx2.Client) -> None:
    made = server.post("/v1/tokens", json={"name": "looker", "role": Role.READER})
    secret, run = made.json()["secret"], started(server)
    with lined(server) as line:
        for _ in range(2):  # the second time the token is remembered
            for verb, body in (
                ("log-metric", {"key": "a", "value": 1.0, "timestamp": 1}),
                ("set-tag", {"key": "a", "value": "b"}),
            ):
                sent = request(server, f"{_MLFLOW}/{verb}", body | {"run_id": run}, authorization=f"Bearer {secret}")
                line.send(sent)
                assert line.answer().status == 403
    data = server.get(f"{_MLFLOW}/get", params={"run_id": run}).json()["run"]["data"]
    assert data["metrics"] == []
    assert "a" not in {tag["key"] for tag in data["tags"]}


def test_a_token_is_refused_as_soon_as_it_is_revoked(server: httpx2.Client) -> None:
    secret, run = (
        server.post("/v1/tokens", json={"name": "brief", "role": Role.AUTHOR}).json()["secret"],
        started(server),
    )
    sent = request(
        server,
        f"{_MLFLOW}/log-metric",
        {"run_id": run, "key": "a", "value": 1.0, "timestamp": 1},
        authorization=f"Bearer {secret}",
    )
    with lined(server) as line:
        line.send(sent + sent)
        assert [line.answer().status, line.answer().status] == [200, 200]
        server.delete("/v1/tokens/brief").raise_for_status()
        line.send(sent)
        assert line.answer().status == 401


def test_answers_come_in_the_order_of_the_requests_by_whichever_way(server: httpx2.Client) -> None:
    run = started(server)
    expected, sent = list[int](), b""
    for number in range(30):
        more = _LONG if number % 3 == 0 else ""
        if number % 5 == 4:
            sent += request(
                server, f"{_MLFLOW}/log-metric", {"run_id": "rn_gone", "key": "a", "value": 1.0, "timestamp": 1}, more
            )
            expected.append(404)
        else:
            sent += request(
                server, f"{_MLFLOW}/log-parameter", {"run_id": run, "key": f"p{number}", "value": "1"}, more
            )
            expected.append(200)
    with lined(server) as line:
        line.send(sent)
        assert [line.answer().status for _ in expected] == expected


@settings(max_examples=20)
@given(st.lists(st.integers(1, 2000), max_size=12))
def test_however_a_request_is_cut_into_pieces_it_is_the_same(server: httpx2.Client, cuts: list[int]) -> None:
    sent = b"".join(
        request(
            server,
            f"{_MLFLOW}/log-metric",
            {"run_id": "rn_gone", "key": "k" * size, "value": 1.0, "timestamp": 1},
            more,
        )
        for size, more in ((1, ""), (200, ""), (200, _LONG), (3, ""), (300, ""))
    )
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    with lined(server) as line:
        for start, end in pairwise(places):
            line.send(sent[start:end])
        assert [line.answer().status for _ in range(5)] == [404, 404, 404, 404, 400]


def test_a_connection_ends_when_its_client_says_so(server: httpx2.Client) -> None:
    body = {"run_id": started(server), "key": "a", "value": 1.0, "timestamp": 1}
    with lined(server) as line:
        line.send(request(server, f"{_MLFLOW}/log-metric", body, connection="close"))
        answer = line.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert line.over()
    with lined(server) as line:
        line.send(request(server, f"{_MLFLOW}/log-metric", body).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert line.answer().status == 200
        assert line.over()


def test_a_body_of_unknown_length_and_one_that_waits_to_be_asked_for_go_the_long_way(server: httpx2.Client) -> None:
    body = json.dumps({"run_id": started(server), "key": "a", "value": 1.0, "timestamp": 1}).encode()
    path = f"{_MLFLOW}/log-metric"
    with lined(server) as line:
        head = request(server, path, b"", **{"content-length": None, "transfer-encoding": "chunked"})
        line.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert line.answer().status == 200
        line.send(request(server, path, b"", **{"content-length": str(len(body)), "expect": "100-continue"}))
        assert line.answer().status == 100
        line.send(body)
        assert line.answer().status == 200


def test_a_client_that_goes_away_harms_nobody_and_what_it_asked_for_is_done(server: httpx2.Client) -> None:
    run = started(server)
    for number in range(20):
        with lined(server) as line:
            body = {"run_id": run, "key": f"p{number}", "value": "1"}
            line.send(request(server, f"{_MLFLOW}/log-parameter", body))
    with lined(server) as line:  # the queue is in order: once this is answered, those before are written
        line.send(request(server, f"{_MLFLOW}/log-parameter", {"run_id": run, "key": "last", "value": "1"}))
        assert line.answer().status == 200
    assert server.get("/health").status_code == 200
    kept = server.get(f"{_MLFLOW}/get", params={"run_id": run}).json()["run"]["data"]["params"]
    assert {"key": "last", "value": "1"} in kept


def test_what_is_answered_is_counted(server: httpx2.Client) -> None:
    route = '{method="POST",route="/api/mlflow/runs/log-metric",status="404"}'

    def counted() -> float:
        lines = server.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"headway_requests_total{route}"))

    before = counted()
    with lined(server) as line:
        for more in ("", _LONG):
            body = {"run_id": "rn_gone", "key": "a", "value": 1.0, "timestamp": 1}
            line.send(request(server, f"{_MLFLOW}/log-metric", body, more))
            assert line.answer().status == 404
    assert counted() == before + 2
