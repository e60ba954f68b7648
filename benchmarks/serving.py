"""What a single-row request costs the model server in CPU, beside a bare ASGI app that only runs the same model.

    python benchmarks/serving.py [--requests 20000] [--mixed]

Both run as one process under the same uvicorn settings, asked over 16 loopback connections, each with one request on
the way at a time. The bare app reads the body, runs ONNX Runtime on a row made beforehand and answers constant bytes:
no JSON, no check, no count, no capture. They take turns, since others use the machine too; the best round counts.
The row has 20 numbers in one tensor; with `--mixed` 12 numbers and 4 texts in a tensor each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import psutil  # type: ignore[import-untyped]
import uvicorn
import uvloop
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from headway.kernel.records import digest, encode
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.lifecycle.rollouts.routing import Route, RoutingTable

CONNECTIONS = 16
ROUNDS = 5
WIDTH = 20
NUMBERS = tuple(f"number_{place}" for place in range(12))
TEXTS = tuple(f"text_{place}" for place in range(4))
LEVELS = tuple(f"level {place}" for place in range(20))
OUTPUTS = (
    TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
    TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 2)),
)


class Workload(NamedTuple):
    model: bytes
    signature: Signature
    contract: Contract
    body: bytes
    feed: dict[str, Any]


def plain() -> Workload:
    """Gradient boosting, 100 trees of depth 4, on 20 numbers."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(2000, WIDTH)).astype(np.float32)
    model = GradientBoostingClassifier(max_depth=4, random_state=1)
    model.fit(rows, (rows[:, 0] + rows[:, 1] ** 2 > 1).astype(np.int64))
    converted = to_onnx(model, initial_types=[("x", FloatTensorType([None, WIDTH]))], options={"zipmap": False})
    spec, row = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, WIDTH)), rows[0].astype(float).round(3).tolist()
    return Workload(
        converted.SerializeToString(),
        Signature(inputs=(spec,), outputs=OUTPUTS, score="probabilities"),
        Contract(columns=tuple(ColumnRule(name=name, kind=Kind.FLOAT, low=-10, high=10) for name in spec.columns)),
        json.dumps({"inputs": [{"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": row}]}).encode(),
        {"x": np.array([row], np.float32)},
    )


def mixed() -> Workload:
    """The same on 12 numbers and 4 texts of 20 levels."""
    random = np.random.default_rng(1)
    frame = np.empty((2000, 16), dtype=object)
    frame[:, :12] = random.normal(size=(2000, 12)).astype(np.float32)
    frame[:, 12:] = random.choice(LEVELS, (2000, 4))
    columns = ColumnTransformer(
        [("numbers", "passthrough", list(range(12))), ("texts", OneHotEncoder(sparse_output=False), [12, 13, 14, 15])]
    )
    model = Pipeline([("columns", columns), ("model", GradientBoostingClassifier(max_depth=4, random_state=1))])
    model.fit(frame, (frame[:, 0] + frame[:, 1] ** 2 > 1).astype(np.int64))
    types = [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    types += [(name, StringTensorType([None, 1])) for name in TEXTS]
    numbers = [TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1)) for name in NUMBERS]
    texts = [TensorSpec(name=name, datatype=Datatype.BYTES, shape=(-1, 1)) for name in TEXTS]
    values = [{"name": name, "shape": [1, 1], "datatype": "FP32", "data": [0.25]} for name in NUMBERS]
    values += [{"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [LEVELS[3]]} for name in TEXTS]
    return Workload(
        to_onnx(model, initial_types=types, options={"zipmap": False}).SerializeToString(),
        Signature(inputs=(*numbers, *texts), outputs=OUTPUTS, score="probabilities"),
        Contract(
            columns=(
                *(ColumnRule(name=name, kind=Kind.FLOAT, low=-10, high=10) for name in NUMBERS),
                *(ColumnRule(name=name, kind=Kind.STR, levels=LEVELS) for name in TEXTS),
            )
        ),
        json.dumps({"inputs": values}).encode(),
        {name: np.array([[0.25]], np.float32) for name in NUMBERS}
        | {name: np.array([[LEVELS[3]]], object) for name in TEXTS},
    )


class Client(asyncio.Protocol):
    """Sends the same request again and again until the common count is used up."""

    def __init__(self, sent: bytes, left: list[int], done: asyncio.Future[None]) -> None:
        self._sent, self._left, self._done = sent, left, done
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, rest = self._answer.partition(b"\r\n\r\n")
        if found and len(rest) >= int(head.lower().partition(b"content-length: ")[2].split()[0]):
            if not head.startswith(b"HTTP/1.1 200"):
                self._done.set_exception(RuntimeError(self._answer.decode()))
                return
            self._answer = b""
            self._next()

    def _next(self) -> None:
        if self._left[0] > 0:
            self._left[0] -= 1
            self._transport.write(self._sent)
        elif not self._done.done():
            self._done.set_result(None)


async def load(port: int, content: bytes, requests: int) -> None:
    head = f"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n".encode()
    loop, left = asyncio.get_running_loop(), [requests]
    dones = [loop.create_future() for _ in range(CONNECTIONS)]
    for done in dones:
        await loop.create_connection(lambda done=done: Client(head + content, left, done), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*dones)


class Served:
    """A server's process, the time until it was ready, and what each round of requests cost it."""

    def __init__(self, name: str, command: list[str], port: int, body: bytes) -> None:
        self.name, self._port, self._body = name, port, body
        started = time.perf_counter()
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not answers(port):
            time.sleep(0.01)
        self.start_s = time.perf_counter() - started
        self._watched = psutil.Process(self._process.pid)
        self.cpu_us: list[float] = []
        self.wall_us: list[float] = []

    def ask(self, requests: int) -> None:
        before, began = self._watched.cpu_times(), time.perf_counter()
        uvloop.run(load(self._port, self._body, requests))
        self.wall_us.append((time.perf_counter() - began) / requests * 1e6)
        time.sleep(0.7)  # the last captured rows are still being written
        after = self._watched.cpu_times()
        self.cpu_us.append((after.user - before.user + after.system - before.system) / requests * 1e6)

    def report(self) -> None:
        memory = self._watched.memory_info().rss / 2**20
        print(
            f"{self.name:8} CPU {min(self.cpu_us):5.1f} us (median {statistics.median(self.cpu_us):5.1f})  "
            f"wall {min(self.wall_us):5.1f} us  first 200 in {self.start_s:.2f} s  {memory:.0f} MiB"
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            return False
        probe.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
        return b" 200 " in probe.recv(1000)


def serve_bare(work: Workload, port: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(work.model, options, providers=["CPUExecutionProvider"])
    answer = b"{" + b" " * 250 + b"}"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        while (await receive()).get("more_body"):
            pass
        session.run(None, work.feed)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(
        app, port=port, loop="uvloop", http="httptools", ws="none", interface="asgi3", lifespan="off", log_config=None,
        access_log=False, proxy_headers=False, server_header=False, date_header=False,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--mixed", action="store_true", help="a row of numbers and texts, in a tensor each")
    parser.add_argument("--bare", metavar="PORT", type=int, help="be the bare server")
    settings = parser.parse_args()
    work = mixed() if settings.mixed else plain()
    if settings.bare:
        serve_bare(work, settings.bare)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blob = digest(work.model)
        file = folder / blob[3:5] / blob[5:]
        file.parent.mkdir()
        file.write_bytes(work.model)
        route = Route(
            release="rl", model="m", version=1, blob=blob, signature=work.signature, percent=100, contract=work.contract
        )  # fmt: skip
        table = folder / "routing.json"
        table.write_bytes(encode(RoutingTable(deployment="flights", generation=1, routes=(route,))))
        ports = free_port(), free_port()
        headway = [sys.executable, "-m", "headway.serving.main", "--routing", str(table), "--blobs", str(folder)]
        headway += ["--spool", str(folder / "spool"), "--port", str(ports[1])]
        bare = [sys.executable, __file__, "--bare", str(ports[0])]
        servers = [
            Served("bare", [*bare, *(["--mixed"] if settings.mixed else [])], ports[0], work.body),
            Served("headway", headway, ports[1], work.body),
        ]
        for _ in range(ROUNDS):
            for server in servers:
                server.ask(settings.requests // ROUNDS)
        for server in servers:
            server.report()
            server.stop()
        print(f"ratio    {min(servers[1].cpu_us) / min(servers[0].cpu_us):.2f}")


if __name__ == "__main__":
    main()
