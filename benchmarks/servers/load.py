"""The load, in a process of its own: reads what to ask from its input, one JSON line each, and answers what it took.

Each connection has one request on the way at a time. Over HTTP this is a protocol on uvloop, so that a request costs
it a few microseconds; over gRPC the client costs more than most servers, so that throughput there is a lower bound, and
latency is the client's own. `h2load` (of nghttp2) is a client of gRPC that costs little: it sends the same call again
and again.
"""

from __future__ import annotations

import asyncio
import base64
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import grpc.aio
import msgspec
import numpy as np
import uvloop

METHOD = "/inference.GRPCInferenceService/ModelInfer"


Client = Literal["http", "grpc", "h2load"]


class Order(msgspec.Struct):
    port: int
    sent: str
    """The request's bytes in base 64."""
    requests: int
    connections: int
    client: Client = "http"
    more: list[str] = []
    """Further requests, which are sent in turns with it; over HTTP."""


class Took(msgspec.Struct):
    wall_s: float
    cpu_s: float
    p50_us: float
    p99_us: float


class Connection(asyncio.Protocol):
    """Sends the next of the requests that all clients take from until their common count is used up."""

    def __init__(self, sent: Iterator[bytes], left: list[int], took_s: list[float], done: asyncio.Future[None]) -> None:
        self._sent, self._left, self._took_s, self._done = sent, left, took_s, done
        self._answer, self._is_first = b"", True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, rest = self._answer.partition(b"\r\n\r\n")
        if found and len(rest) >= int(head.lower().partition(b"content-length: ")[2].split()[0]):
            if not self._is_first:  # that one has waited for the other connections to be made
                self._took_s.append(time.perf_counter() - self._began)
            self._is_first = False
            if not head.startswith(b"HTTP/1.1 200"):
                self._done.set_exception(RuntimeError(self._answer.decode("latin-1")))
                return
            self._answer = b""
            self._next()

    def _next(self) -> None:
        if self._left[0] > 0:
            self._left[0] -= 1
            self._began = time.perf_counter()
            self._transport.write(next(self._sent))
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()


async def over_http(order: Order, first: bytes) -> list[float]:
    sent = cycle([first, *map(base64.b64decode, order.more)])
    loop, left, took_s = asyncio.get_running_loop(), [order.requests], list[float]()
    dones = [loop.create_future() for _ in range(order.connections)]
    for done in dones:
        await loop.create_connection(lambda done=done: Connection(sent, left, took_s, done), "127.0.0.1", order.port)  # type: ignore[misc]
    await asyncio.gather(*dones)
    return took_s


async def over_grpc(order: Order, sent: bytes) -> list[float]:
    left, took_s = [order.requests], list[float]()

    async def ask(place: int) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("headway.place", place))  # a connection for each
        async with grpc.aio.insecure_channel(f"127.0.0.1:{order.port}", options=options) as channel:
            call = channel.unary_unary(METHOD)
            while left[0] > 0:
                left[0] -= 1
                began = time.perf_counter()
                await call(sent)
                took_s.append(time.perf_counter() - began)

    await asyncio.gather(*(ask(place) for place in range(order.connections)))
    return took_s


async def over_h2load(order: Order, sent: bytes) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(struct.pack(">?I", False, len(sent)) + sent)
        command = ["h2load", f"--requests={order.requests}", f"--clients={order.connections}", f"--data={body}"]
        command += ["--max-concurrent-streams=1", f"--log-file={log}", "--header=te: trailers"]
        command += ["--header=content-type: application/grpc", f"http://127.0.0.1:{order.port}{METHOD}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        calls = sorted(tuple(map(int, line.split("\t"))) for line in log.read_text().splitlines())
    if {status for _, status, _ in calls} != {200}:
        raise RuntimeError("h2load was refused")
    # The first of each connection has waited for the other connections to be made.
    return [took_us / 1e6 for _, _, took_us in calls[order.connections :]]


def cpu_s() -> float:
    """Of this process and of those that it has started and that have ended."""
    own, started = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + started.ru_utime + started.ru_stime


CLIENTS = {"http": over_http, "grpc": over_grpc, "h2load": over_h2load}


def main() -> None:
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        began, before_s = time.perf_counter(), cpu_s()
        took_s = uvloop.run(CLIENTS[order.client](order, base64.b64decode(order.sent)))
        wall_s = time.perf_counter() - began
        p50_us, p99_us = (np.percentile(took_s, [50, 99]) * 1e6).tolist()
        print(msgspec.json.encode(Took(wall_s, cpu_s() - before_s, p50_us, p99_us)).decode(), flush=True)


if __name__ == "__main__":
    main()
