"""What a single-row request costs the model server in CPU, beside a bare ASGI app that only runs the same model.

    python benchmarks/serving.py [--requests 20000]

Both run as one process under the same uvicorn settings, asked over 16 loopback connections, each with one request on
the way at a time. The bare app reads the body, runs ONNX Runtime on a row made beforehand and answers constant bytes:
no JSON, no check, no count, no capture. They take turns, since others use the machine too; the best round counts.
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
from typing import Any

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
NUMBERS = tuple(f"number_{place}" for place in range(12))
TEXTS = tuple(f"text_{place}" for place in range(4))
LEVELS = tuple(f"level {place}" for place in range(20))
SIGNATURE = Signature(
    inputs=(
        *(TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1)) for name in NUMBERS),
        *(TensorSpec(name=name, datatype=Datatype.BYTES, shape=(-1, 1)) for name in TEXTS),
    ),
    outputs=(
        TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
        TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 2)),
    ),
    score="probabilities",
)
CONTRACT = Contract(
    columns=(
        *(ColumnRule(name=name, kind=Kind.FLOAT, low=-10, high=10) for name in NUMBERS),
        *(ColumnRule(name=name, kind=Kind.STR, levels=LEVELS) for name in TEXTS),
    )
)


def trained() -> bytes:
    """Gradient boosting, 100 trees of depth 4, on 12 numbers and 4 texts of 20 levels."""
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
    converted: bytes = to_onnx(model, initial_types=types, options={"zipmap": False}).SerializeToString()
    return converted


def body() -> bytes:
    numbers = [{"name": name, "shape": [1, 1], "datatype": "FP32", "data": [0.25]} for name in NUMBERS]
    texts = [{"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [LEVELS[3]]} for name in TEXTS]
    return json.dumps({"inputs": numbers + texts}).encode()


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


async def load(port: int, requests: int) -> None:
    content = body()
    head = f"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n".encode()
    loop, left = asyncio.get_running_loop(), [requests]
    dones = [loop.create_future() for _ in range(CONNECTIONS)]
    for done in dones:
        await loop.create_connection(lambda done=done: Client(head + content, left, done), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*dones)


class Served:
    """A server's process, the time until it was ready, and what each round of requests cost it."""

    def __init__(self, name: str, command: list[str], port: int) -> None:
        self.name, self._port = name, port
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
        uvloop.run(load(self._port, requests))
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


def serve_bare(model: Path, port: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    feed: dict[str, Any] = {name: np.array([[0.25]], np.float32) for name in NUMBERS}
    feed |= {name: np.array([[LEVELS[3]]], object) for name in TEXTS}
    answer = b"{" + b" " * 250 + b"}"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        while (await receive()).get("more_body"):
            pass
        session.run(None, feed)
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
    parser.add_argument("--bare", nargs=2, metavar=("MODEL", "PORT"), help="be the bare server")
    settings = parser.parse_args()
    if settings.bare:
        serve_bare(Path(settings.bare[0]), int(settings.bare[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), trained()
        blob = digest(model)
        file = folder / blob[3:5] / blob[5:]
        file.parent.mkdir()
        file.write_bytes(model)
        route = Route(
            release="rl", model="m", version=1, blob=blob, signature=SIGNATURE, percent=100, contract=CONTRACT
        )  # fmt: skip
        table = folder / "routing.json"
        table.write_bytes(encode(RoutingTable(deployment="flights", generation=1, routes=(route,))))
        ports = free_port(), free_port()
        headway = [sys.executable, "-m", "headway.serving.main", "--routing", str(table), "--blobs", str(folder)]
        headway += ["--spool", str(folder / "spool"), "--port", str(ports[1])]
        servers = [
            Served("bare", [sys.executable, __file__, "--bare", str(file), str(ports[0])], ports[0]),
            Served("headway", headway, ports[1]),
        ]
        for _ in range(ROUNDS):
            for server in servers:
                server.ask(settings.requests // ROUNDS)
        for server in servers:
            server.report()
            server.stop()
        bare, ours = servers
        print(f"ratio    {min(ours.cpu_us) / min(bare.cpu_us):.2f}")


if __name__ == "__main__":
    main()
