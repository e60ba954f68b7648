"""Who is let in: rates by the clock, deadlines, and what waited too long; then on a real server."""

from __future__ import annotations

import gzip
import json
import math
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import BadTensor, DeadlineExceeded, Overloaded, RateExceeded
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits
from headway.serving.buckets import MOST_CALLERS, OwnBuckets, SharedBuckets
from headway.serving.door import Door
from headway.serving.grpc.messages import MESSAGES
from headway.serving.messages import Head
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.processes import Server, request

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 5 * SECOND

    def __call__(self) -> int:
        return self.now_ns


def let_in(door: Door, limits: Limits, head: Head) -> bool:
    try:
        door.check(limits, head)
    except RateExceeded:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.2, 50),
    st.integers(1, 8),
    st.lists(st.integers(0, 2 * SECOND), min_size=1, max_size=60),
)
def test_a_bucket_lets_in_its_burst_and_then_its_rate(rate: float, burst: int, gaps_ns: list[int]) -> None:
    clock = Clock()
    door, limits = Door(clock), Limits(requests_per_s=rate, burst=burst)
    tokens, last_ns, taken = float(burst), clock.now_ns, 0
    for gap_ns in gaps_ns:
        clock.now_ns += gap_ns
        tokens = min(burst, tokens + (clock.now_ns - last_ns) * rate / SECOND)
        last_ns = clock.now_ns
        if abs(tokens - 1) < 1e-6:
            continue
        entered = let_in(door, limits, Head())
        assert entered is (tokens > 1)
        tokens -= entered
        taken += entered
    assert taken <= burst + math.ceil(sum(gaps_ns) * rate / SECOND)


def test_callers_have_a_bucket_each_and_share_the_deployments() -> None:
    clock = Clock()
    door, limits = Door(clock), Limits(requests_per_s=3, burst=3, caller_requests_per_s=1, caller_burst=1)
    heads = [Head(caller=b"a", key=b"k", peer=b"p"), Head(key=b"k", peer=b"p"), Head(peer=b"p"), Head(caller=b"d")]
    assert [let_in(door, limits, head) for head in heads] == [True, True, True, False]
    assert [let_in(door, limits, head) for head in heads] == [False] * 4
    clock.now_ns += SECOND
    assert [let_in(door, limits, head) for head in heads] == [True] * 3 + [False]


def test_who_is_refused_by_the_deployment_keeps_his_own_token() -> None:
    clock = Clock()
    door, limits = Door(clock), Limits(requests_per_s=1, burst=1, caller_requests_per_s=0.01, caller_burst=1)
    assert let_in(door, limits, Head(caller=b"a"))
    assert not let_in(door, limits, Head(caller=b"b"))
    clock.now_ns += SECOND
    assert let_in(door, limits, Head(caller=b"b"))


def test_a_new_table_leaves_buckets_as_they_are_unless_its_limits_differ() -> None:
    door = Door(Clock())
    assert let_in(door, Limits(requests_per_s=1), Head())
    assert not let_in(door, Limits(requests_per_s=1), Head())
    assert let_in(door, Limits(requests_per_s=2), Head())
    assert let_in(door, UNLIMITED, Head())


def test_the_table_of_callers_is_bounded() -> None:
    door, limits = Door(Clock()), Limits(caller_requests_per_s=0.001, caller_burst=1)
    for caller in range(MOST_CALLERS + 10):
        assert let_in(door, limits, Head(caller=b"%d" % caller))
    assert not let_in(door, limits, Head(caller=b"%d" % (MOST_CALLERS + 9)))
    assert let_in(door, limits, Head(caller=b"0"))


def test_shared_buckets_are_those_of_all_processes(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "buckets"
    doors = [Door(clock, buckets=SharedBuckets(file)) for _ in range(3)]
    limits = Limits(requests_per_s=100, burst=100, caller_requests_per_s=1, caller_burst=3)
    assert [let_in(door, limits, Head(caller=b"a")) for door in doors * 2] == [True] * 3 + [False] * 3
    assert let_in(doors[0], limits, Head(caller=b"b"))
    clock.now_ns += SECOND
    assert [let_in(door, limits, Head(caller=b"a")) for door in reversed(doors)] == [True, False, False]
    assert not let_in(Door(clock, buckets=SharedBuckets(file)), limits, Head(caller=b"a")), "also one that comes later"
    assert let_in(doors[1], limits.but(caller_burst=1), Head(caller=b"a")), "other limits begin anew"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=6), st.floats(1, 1e18)), max_size=200))
def test_shared_buckets_keep_what_own_ones_keep(moments: list[tuple[bytes, float]]) -> None:
    with TemporaryDirectory() as folder:
        shared, own = SharedBuckets(Path(folder) / "b"), OwnBuckets()
        for caller, full_ns in moments:
            shared.put(caller, full_ns)
            own.put(caller, full_ns)
        assert all(shared.get(caller) == own.get(caller) for caller, _ in moments)


def test_of_too_many_callers_those_are_forgotten_whose_buckets_are_full(tmp_path: Path) -> None:
    shared = SharedBuckets(tmp_path / "b")
    for caller in range(24_000):
        shared.put(b"%d" % caller, float(caller + 1))
    kept = [caller for caller in range(24_000) if shared.get(b"%d" % caller)]
    assert 10_000 < len(kept) <= 2**14
    assert sum(caller >= 16_000 for caller in kept) > 7_500


def test_what_is_too_late_takes_no_token() -> None:
    clock = Clock()
    door, limits = Door(clock), Limits(requests_per_s=1, burst=1, most_wait_ms=20)
    arrived_ns = clock.now_ns - 30_000_000
    with pytest.raises(DeadlineExceeded):
        door.check(limits, Head(deadline=b"30", arrived_ns=arrived_ns))
    with pytest.raises(Overloaded, match="waited 30 ms, more than 20"):
        door.check(limits, Head(deadline=b"31", arrived_ns=arrived_ns))
    door.check(limits, Head(deadline=b"0.5", arrived_ns=clock.now_ns))


@pytest.mark.parametrize("text", [b"soon", b"-1", b"nan", b"inf", b"1e300", b"\xff"])
def test_a_deadline_that_is_none(text: bytes) -> None:
    with pytest.raises(BadTensor, match="Headway-Deadline-Ms"):
        Door().check(UNLIMITED, Head(deadline=text))


@pytest.fixture(scope="module")
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def guarded(start_server: StartServer, address: str) -> Server:
    return start_server(None, "--grpc-port", address.rpartition(":")[2])


@pytest.fixture
def channel(guarded: Server, address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as opened:
        yield opened


def refused(server: Server) -> dict[str, dict[str, int]]:
    releases = server.status()["releases"]
    return {release: each["refused"] for release, each in releases.items() if each["refused"]}


def test_every_language_is_limited(guarded: Server, table: MakeTable, channel: grpc.Channel) -> None:
    server = guarded.reroute(table(limits=Limits(caller_requests_per_s=0.01, caller_burst=1)))
    asked = json.dumps(request()).encode()
    features = json.dumps({"features": {"temp": 70, "carrier": "UA"}}).encode()
    scoring = json.dumps({"inputs": {"temp": [70], "carrier": ["UA"]}}).encode()
    before = refused(server).get("rl_a", {}).get("rate_exceeded", 0)
    for at, (path, body, error) in enumerate(
        [
            ("/v2/models/flights/infer", asked, "error"),
            ("/v2/models/flights/versions/1/infer", asked, "error"),
            ("/v1/predict/flights", features, "error"),
            ("/invocations", scoring, "message"),
        ]
    ):
        headers = {"Headway-Caller": f"one-{at}"}
        assert server.call("POST", path, body, headers)[0] == 200
        connection = server.connect()
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        assert (answer.status, int(answer.headers["retry-after"])) == (429, 100)
        assert "more requests of this caller than 0.01 a second" in json.loads(answer.read())[error]
        connection.close()
    message = MESSAGES["ModelInferRequest"](model_name="flights")
    message.inputs.add(name="temp", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(70)
    message.inputs.add(name="carrier", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(b"UA")
    ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    sent = {"metadata": (("headway-caller", "two"),), "timeout": 20}
    ask(message.SerializeToString(), **sent)
    with pytest.raises(grpc.RpcError) as raised:
        ask(message.SerializeToString(), **sent)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused(server)["rl_a"]["rate_exceeded"] - before == 5
    text = server.call("GET", "/metrics")[1].decode()
    assert f'headway_refused_requests_total{{release="rl_a",reason="rate_exceeded"}} {before + 5}' in text
    assert server.call("GET", "/v2/health/ready")[0] == 200


def test_a_deadline_on_the_wire(guarded: Server, table: MakeTable) -> None:
    server = guarded.reroute(table())
    rows, before = server.rows().height, server.status()["releases"]["rl_a"]["requests"]
    status, answer = server.infer(request(), Headway_Deadline_Ms="0")
    assert (status, answer["error"]) == (
        504,
        "the deadline of the request was over before it could run; it was not run",
    )
    late = gzip.compress(json.dumps(request()).encode())
    assert server.infer(late, Headway_Deadline_Ms="0.001", Content_Encoding="gzip")[0] == 504
    assert server.infer(request(), Headway_Deadline_Ms="5000")[0] == 200
    assert server.infer(request(parameters={"timeout": 1}))[0] == 504
    assert server.infer(request(parameters={"timeout": 5_000_000}))[0] == 200
    assert server.infer(request(parameters={"timeout": 0}))[0] == 200
    assert server.infer(request(), Headway_Deadline_Ms="soon")[0] == 400
    assert refused(server)["rl_a"]["deadline_exceeded"] >= 3
    assert server.rows().height - rows == 3
    assert server.status()["releases"]["rl_a"]["requests"] - before == 3


def test_what_waits_behind_others_is_refused(guarded: Server, table: MakeTable) -> None:
    """A thousand pipelined requests are read in a few turns of the event loop: the last of them have waited. On a busy
    machine all of them may have, or the server may be far behind with reading them, so that they are sent more than
    once."""
    server, count = guarded.reroute(table(limits=Limits(most_wait_ms=2))), 1000
    answered = turned_away = 0
    for _ in range(20):
        text = answers_to_pipelined(server, count)
        refused_now = text.count(b"HTTP/1.1 503 ")
        answered, turned_away = answered + text.count(b"HTTP/1.1 200 "), turned_away + refused_now
        assert text.count(b"retry-after: 1\r\n") == refused_now
        if answered and turned_away:
            break
    assert answered > 0
    assert turned_away > 0
    assert (answered + turned_away) % count == 0
    assert refused(server)["rl_a"]["overloaded"] == turned_away
    assert server.infer(request())[0] == 200


def answers_to_pipelined(server: Server, count: int) -> bytes:
    body = json.dumps(request()).encode()
    one = b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(one * count)
        text = b""
        while text.count(b"HTTP/1.1 ") < count or not text.endswith(b"}"):
            text += connection.recv(1 << 16)
    return text
