"""Calls as gRPC's own clients make them, and as only frames can: encodings, deadlines, metadata, sizes, ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import pytest

from headway.lifecycle.rollouts.routing import RoutingTable
from headway.serving.grpc.calls import Refusal, Status, headers_of, message_in
from headway.serving.grpc.messages import MESSAGES
from headway.serving.http2 import frames
from headway.serving.http2.codes import Code
from headway.serving.http2.requests import Request
from headway.serving.http2.stream import Reply
from headway.serving.messages import Head
from tests.serving.conftest import MakeTable, StartServer
from tests.serving.http2.peers import HELLO, answers_in, data, frames_in, goaway_of, headers
from tests.serving.processes import Blobs, Server, request
from tests.serving.test_grpc import call, question
from tests.serving.workers import kept, route, stand_in

INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"
BODY_BYTES = 100_000


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Both:
    """A server, and where it speaks gRPC."""

    def __init__(self, start: StartServer, *options: str, table: RoutingTable | None = None) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.server: Server = start(table, "--grpc-port", str(self.port), *options)


@pytest.fixture(scope="module")
def both(start_server: StartServer) -> Both:
    return Both(start_server, "--body-bytes", str(BODY_BYTES), "--request-timeout-s", "2")


@pytest.fixture(scope="module")
def channel(both: Both) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(both.address) as opened:
        yield opened


def rows(count: int) -> Any:
    asked = MESSAGES["ModelInferRequest"](model_name="flights", id="many")
    for name, datatype in (("temp", "FP32"), ("carrier", "BYTES")):
        asked.inputs.add(name=name, datatype=datatype, shape=[count, 1])
    asked.raw_input_contents.append(b"\0\0\x8cB" * count)
    asked.raw_input_contents.append(b"\2\0\0\0UA" * count)
    return asked


def refused(channel: grpc.Channel, method: str, sent: bytes = b"", **options: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(method)(sent, **{"timeout": 20, **options})
    return raised.value.code().name, raised.value.details()  # type: ignore[attr-defined]


# With grpcio.


def test_many_calls_at_once_on_one_connection(both: Both) -> None:
    """More than there may be streams: the client keeps the others back."""

    async def ask() -> list[str]:
        async with grpc.aio.insecure_channel(both.address) as channel:
            method = channel.unary_unary(INFER, None, MESSAGES["ModelInferResponse"].FromString)
            sent = [question(40 + place % 50, id=f"c-{place}").SerializeToString() for place in range(600)]
            return [said.id for said in await asyncio.gather(*(method(each, timeout=30) for each in sent))]

    assert asyncio.run(ask()) == [f"c-{place}" for place in range(600)]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages(channel: grpc.Channel, compression: grpc.Compression) -> None:
    said = call(channel, "ModelInfer", rows(1000), compression=compression)
    assert said.outputs[0].shape == [1000]
    assert call(channel, "ModelReady", MESSAGES["ModelReadyRequest"](name="flights"), compression=compression).ready
    bomb = b"\x0a\x07flights" + b"\x1a\x00" * 2_000_000
    code, why = refused(channel, INFER, bomb, compression=compression)
    assert (code, "unpacked" in why) == ("RESOURCE_EXHAUSTED", True)


def test_large_messages_both_ways(both: Both, channel: grpc.Channel) -> None:
    said = call(channel, "ModelInfer", rows(9000))
    expected = both.server.infer(request([70.0] * 2, ["UA"] * 2))[1]["outputs"][1]["data"]
    assert said.raw_output_contents[1][:16] == said.raw_output_contents[1][-16:]
    assert len(said.raw_output_contents[1]) == 9000 * 8
    assert len(expected) == 4
    code, why = refused(channel, INFER, rows(20_000).SerializeToString())
    assert (code, str(BODY_BYTES) in why) == ("RESOURCE_EXHAUSTED", True)
    assert call(channel, "ModelInfer", question()).outputs


def test_metadata(both: Both, channel: grpc.Channel) -> None:
    metadata = (
        ("headway-key", "of metadata"),
        ("other-bin", b"\0\xff\x80"),
        ("traceparent", "00-11-22-00"),
        ("a", "b"),
    )
    call(channel, "ModelInfer", question(id="with metadata"), metadata=metadata)
    found = both.server.rows()
    assert found.filter(found["_request"] == "with metadata")["_key"].to_list() == ["of metadata"]
    many = tuple((f"name-{place}", "v" * 200) for place in range(100))
    assert refused(channel, LIVE, metadata=many)[0] == "RESOURCE_EXHAUSTED"
    assert call(channel, "ServerLive", b"").live


def test_what_is_not_there(channel: grpc.Channel) -> None:
    assert refused(channel, "/inference.GRPCInferenceService/Nix")[0] == "UNIMPLEMENTED"
    assert refused(channel, "/other.Service/ModelInfer")[0] == "UNIMPLEMENTED"
    name = "50% \u20ac\n\u00e9"
    code, why = refused(channel, INFER, MESSAGES["ModelInferRequest"](model_name=name).SerializeToString())
    assert (code, repr(name) in why) == ("NOT_FOUND", True)


def test_a_call_takes_one_message(channel: grpc.Channel) -> None:
    for count, code in ((0, "INVALID_ARGUMENT"), (2, "UNIMPLEMENTED")):
        with pytest.raises(grpc.RpcError) as raised:
            channel.stream_unary(LIVE)(iter([b""] * count), timeout=20)
        assert raised.value.code().name == code  # type: ignore[attr-defined]
    assert channel.stream_unary(LIVE)(iter([b""]), timeout=20) == b"\x08\x01"
    assert list(channel.unary_stream(LIVE)(b"", timeout=20)) == [b"\x08\x01"]


def test_a_stream_for_what_is_not_there_is_refused_before_it_ends(channel: grpc.Channel) -> None:
    """As clients that look for reflection do, which wait for an answer to each message."""
    asked = threading.Event()

    def messages() -> Iterator[bytes]:
        yield b""
        asked.wait(20)

    with pytest.raises(grpc.RpcError) as raised:
        list(channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(messages(), timeout=20))
    asked.set()
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_cancelled_calls(channel: grpc.Channel) -> None:
    sent = rows(9000).SerializeToString()
    calls = [channel.unary_unary(INFER).future(sent, timeout=20) for _ in range(50)]
    for each in calls:
        each.cancel()
    assert call(channel, "ModelInfer", question(id="after")).id == "after"


def test_a_client_that_is_killed_costs_nobody_else_anything(both: Both, channel: grpc.Channel) -> None:
    script = (
        "import grpc, sys\n"
        "channel = grpc.insecure_channel(sys.argv[1])\n"
        "method = channel.unary_unary(sys.argv[2])\n"
        "sent = bytes.fromhex(sys.stdin.readline())\n"
        "print(len(method(sent)), flush=True)\n"
        "while True: method.future(sent)\n"
    )
    command = [sys.executable, "-c", script, both.address, INFER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(rows(2000).SerializeToString().hex().encode() + b"\n")
        client.stdin.flush()
        assert client.stdout.readline()
        client.send_signal(signal.SIGKILL)
    assert call(channel, "ModelInfer", question(id="still")).id == "still"
    assert '"level":"ERROR"' not in both.server.log.read_text()


def test_what_was_asked_is_answered_before_the_end(start_server: StartServer) -> None:
    own = Both(start_server)
    place = ("127.0.0.1", own.port)
    with grpc.insecure_channel(own.address) as channel, socket.create_connection(place, timeout=20) as connection:
        assert call(channel, "ServerLive", b"").live
        connection.sendall(HELLO + headers(1, INFER.encode(), (b"content-type", b"application/grpc")))
        own.server.process.terminate()
        heard, leaving = b"", b"headway!"
        while leaving not in heard:
            heard += connection.recv(65536)
        ping = frames.frame(frames.PING, frames.ACK, 0, leaving)
        connection.sendall(ping + data(1, framed(question(id="last").SerializeToString())))
        while chunk := connection.recv(65536):
            heard += chunk
    told = frames_in(heard)
    assert goaway_of(told) == (1, Code.NO_ERROR)
    assert MESSAGES["ModelInferResponse"].FromString(answers_in(told)[1][1][5:]).id == "last"
    assert own.server.process.wait(20) == 0


def test_models_in_workers(
    start_server: StartServer, table: MakeTable, blobs: Blobs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Calls go on while one waits for its worker, and one that is not waited for any more costs only itself."""
    python = stand_in(tmp_path_factory.mktemp("grpc-stand-in"))
    own = Both(start_server, table=table(50).but(routes=(table(50).routes[0], route(kept(blobs), python, percent=50))))

    def of_worker(identifier: str, first: float) -> bytes:
        asked = MESSAGES["ModelInferRequest"](model_name="flights", model_version="2", id=identifier)
        asked.inputs.add(name="input", datatype="FP64", shape=[1, 2]).contents.fp64_contents.extend([first, 1])
        return bytes(asked.SerializeToString())

    async def ask() -> None:
        async with grpc.aio.insecure_channel(own.address) as channel:
            method = channel.unary_unary(INFER, None, MESSAGES["ModelInferResponse"].FromString)
            slow, dropped = (method(of_worker(name, 7008), timeout=20) for name in ("slow", "dropped"))
            await asyncio.sleep(0)
            assert (await method(question(model_version="1", id="quick").SerializeToString(), timeout=20)).id == "quick"
            assert not slow.done()
            dropped.cancel()
            said = await slow
            assert (said.id, list(said.outputs[0].contents.fp64_contents)) == ("slow", [7008 * 2 + 1])
            with pytest.raises(grpc.aio.AioRpcError, match="not these rows") as raised:
                await method(of_worker("wrong", 7005), timeout=20)
            assert raised.value.code() is grpc.StatusCode.INTERNAL

    asyncio.run(ask())
    own.server.stop()


# With frames.


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4) + message


class Talk:
    """A connection of the h2 package to a server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.fields: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self._flush()

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(self, path: str = INFER, method: str = "POST", **fields: str) -> int:
        stream: int = self.h2.get_next_available_stream_id()
        told = {"content-type": "application/grpc", "te": "trailers"} | {
            name.replace("_", "-"): value for name, value in fields.items()
        }
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self.h2.send_headers(stream, [*pseudo, *told.items()])
        self._flush()
        return stream

    def send(self, stream: int, body: bytes, *, end: bool = True) -> None:
        self.h2.send_data(stream, body, end_stream=end)
        self._flush()

    def ask(self, body: bytes, **fields: str) -> tuple[dict[bytes, bytes], bytes]:
        stream = self.begin(**fields)
        self.send(stream, body)
        return self.answer(stream)

    def answer(self, stream: int) -> tuple[dict[bytes, bytes], bytes]:
        """Fields of headers and trailers together, and the body."""
        self.until(lambda: stream in self.ended)
        return self.fields[stream], self.bodies.get(stream, b"")

    def until(self, done: Any) -> None:
        while not done():
            heard = self.socket.recv(65536)
            assert heard
            for event in self.h2.receive_data(heard):
                self._note(event)
            self._flush()

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self.fields.setdefault(event.stream_id, {}).update(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)

    def _flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())


@pytest.fixture
def talk(both: Both) -> Iterator[Talk]:
    with Talk(both.port) as opened:
        yield opened


def status_in(fields: dict[bytes, bytes]) -> tuple[Status, str]:
    return Status(int(fields[b"grpc-status"])), unquote(fields.get(b"grpc-message", b"").decode())


def test_an_answer_has_headers_message_and_trailers(talk: Talk) -> None:
    fields, body = talk.ask(framed(b""), path=LIVE)
    assert fields == {b":status": b"200", b"content-type": b"application/grpc", b"grpc-status": b"0"}
    assert body == framed(b"\x08\x01")


@pytest.mark.parametrize(
    ("fields", "body", "status", "says"),
    [
        ({}, b"", Status.INVALID_ARGUMENT, "ends before"),
        ({}, b"\0\0\0\0\5abc", Status.INVALID_ARGUMENT, "ends before"),
        ({}, framed(b"") * 2, Status.UNIMPLEMENTED, "one message"),
        ({}, framed(b"", 1), Status.INTERNAL, "grpc-encoding"),
        ({"grpc_encoding": "identity"}, framed(b"", 1), Status.INTERNAL, "grpc-encoding"),
        ({"grpc_encoding": "gzip"}, framed(b"", 7), Status.INTERNAL, "grpc-encoding"),
        ({"grpc_encoding": "gzip"}, framed(b"no gzip", 1), Status.INVALID_ARGUMENT, "gzip"),
        ({"grpc_encoding": "snappy"}, framed(b""), Status.UNIMPLEMENTED, "snappy"),
        ({"grpc_timeout": "5"}, framed(b""), Status.INVALID_ARGUMENT, "grpc-timeout"),
        ({"grpc_timeout": "123456789S"}, framed(b""), Status.INVALID_ARGUMENT, "grpc-timeout"),
        ({"path": "/nix"}, framed(b""), Status.UNIMPLEMENTED, "nix"),
    ],
)
def test_calls_that_are_none(talk: Talk, fields: dict[str, str], body: bytes, status: Status, says: str) -> None:
    told, answer = talk.ask(body, **fields)
    found, reason = status_in(told)
    assert (found, says in reason, answer) == (status, True, b"")
    assert told[b":status"] == b"200"
    if "snappy" in fields.values():
        assert told[b"grpc-accept-encoding"] == b"identity,gzip,deflate"


def test_what_is_not_grpc(talk: Talk) -> None:
    for fields, status in (({"content_type": "application/json"}, b"415"), ({"method": "GET"}, b"405"),
                           ({"content_type": "application/grpcx"}, b"415")):  # fmt: skip
        assert talk.ask(framed(b""), path=LIVE, **fields)[0][b":status"] == status
    for content_type in ("application/grpc+proto", "application/grpc; charset=utf-8"):
        assert talk.ask(framed(b""), path=LIVE, content_type=content_type)[0][b"grpc-status"] == b"0"


def test_a_message_in_many_frames(talk: Talk) -> None:
    stream, sent = talk.begin(), framed(question(id="pieces").SerializeToString())
    for place in range(len(sent)):
        talk.send(stream, sent[place : place + 1], end=place == len(sent) - 1)
    fields, body = talk.answer(stream)
    assert status_in(fields)[0] is Status.OK
    assert MESSAGES["ModelInferResponse"].FromString(body[5:]).id == "pieces"


@pytest.mark.parametrize("timeout", ["0S", "1n", "99u"])
def test_a_deadline_that_is_over_is_not_run(both: Both, talk: Talk, timeout: str) -> None:
    before = both.server.status()["releases"]["rl_a"]["requests"]
    stream = talk.begin(grpc_timeout=timeout)
    time.sleep(0.001)  # so that all of them are over
    talk.send(stream, framed(question().SerializeToString()))
    assert status_in(talk.answer(stream)[0])[0] is Status.DEADLINE_EXCEEDED
    assert both.server.status()["releases"]["rl_a"]["requests"] == before


def test_deadlines_that_are_kept(talk: Talk) -> None:
    for timeout in ("1H", "20M", "30S", "30000m", "30000000u", "99999999n", "99999999H"):
        fields, _ = talk.ask(framed(question().SerializeToString()), grpc_timeout=timeout)
        assert (timeout, status_in(fields)[0]) == (timeout, Status.OK) or timeout == "99999999n"


def test_a_call_that_is_not_whole_in_time(talk: Talk) -> None:
    stream = talk.begin()
    talk.send(stream, framed(b"abc")[:-1], end=False)
    assert status_in(talk.answer(stream)[0])[0] is Status.DEADLINE_EXCEEDED
    assert status_in(talk.ask(framed(b""), path=LIVE)[0])[0] is Status.OK


def ask_and_never_read(port: int) -> None:
    """Until the server has enough of it."""
    body = framed(rows(9000).SerializeToString())
    parts = [body[at : at + frames.FRAME_BYTES] for at in range(0, len(body), frames.FRAME_BYTES)]
    wide = frames.settings([(frames.INITIAL_WINDOW_SIZE, 2**30)]) + frames.window_update(0, 2**30)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(HELLO + wide)
        for number in range(1, 2**31, 2):
            connection.sendall(headers(number, INFER.encode(), (b"content-type", b"application/grpc")))
            connection.sendall(b"".join(data(number, part, end=part is parts[-1]) for part in parts))


def test_a_client_that_does_not_read_is_dropped(both: Both, channel: grpc.Channel) -> None:
    with pytest.raises(ConnectionError):
        ask_and_never_read(both.port)
    assert call(channel, "ModelInfer", question(id="others")).id == "others"


def test_http_1_is_told_what_is_spoken_here(both: Both) -> None:
    with socket.create_connection(("127.0.0.1", both.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        heard = b""
        while chunk := connection.recv(65536):
            heard += chunk
    assert b"this port speaks gRPC" in heard


def test_a_call_is_captured_as_the_post_is(both: Both, channel: grpc.Channel) -> None:
    both.server.call("POST", "/v2/models/flights/infer", json.dumps(request(41.5, "AA", id="over-http")).encode())
    call(channel, "ModelInfer", question(41.5, "AA", id="over-grpc"))
    found = both.server.rows()
    one, other = (found.filter(found["_request"] == f"over-{kind}").to_dicts()[0] for kind in ("http", "grpc"))
    told = {name for name in one if one[name] != other[name]}
    assert told <= {"_request", "_key", "_prediction", "_received_at", "_event_at", "_latency_us", "_id"}


def test_headers_of_a_call() -> None:
    def head(**fields: str) -> Any:
        told = {"content-type": "application/grpc"} | {name.replace("_", "-"): value for name, value in fields.items()}
        return headers_of(Request(b"POST", b"/x", {name.encode(): told[name].encode() for name in told}, None))

    assert head(headway_key="k", headway_caller="c", traceparent="t", grpc_timeout="20m").head == Head(
        key=b"k", caller=b"c", traceparent=b"t", deadline=b"20.000000"
    )
    assert [head(grpc_timeout=f"3{unit}").head.deadline for unit in "HMSmun"] == [
        b"10800000.000000", b"180000.000000", b"3000.000000", b"3.000000", b"0.003000", b"0.000003",
    ]  # fmt: skip
    assert head(grpc_timeout="99999999H").head.deadline == b"86400000.000000"
    assert isinstance(head(grpc_timeout="m"), Reply)
    with pytest.raises(Refusal):
        message_in(b"\2\0\0\0\0", b"gzip", 10)


def test_grpcio_is_not_needed_to_serve(both: Both) -> None:
    maps = f"/proc/{both.server.process.pid}/maps"
    if not os.path.exists(maps):
        pytest.skip("there is no /proc here")
    with open(maps) as file:
        assert "grpc/_cython" not in file.read()
