"""What the tests of serving share: tiny models, a model server's process, a control plane to send to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from headway.kernel.records import digest, encode
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from headway.lifecycle.rollouts.routing import RoutingTable

CARRIERS = ("AA", "B6", "UA")
SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="temp", datatype=Datatype.FP32, shape=(-1, 1)),
        TensorSpec(name="carrier", datatype=Datatype.BYTES, shape=(-1, 1)),
    ),
    outputs=(
        TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
        TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 2)),
    ),
    score="probabilities",
)
CONTRACT = Contract(
    columns=(
        ColumnRule(name="temp", kind=Kind.FLOAT, low=-40, high=130, nulls=0.1),
        ColumnRule(name="carrier", kind=Kind.STR, levels=CARRIERS),
    )
)


def train(seed: int, text: str = "carrier") -> bytes:
    """A logistic regression on a number and a `text`; without an imputer, so that a missing number scores NaN."""
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "temp": random.normal(60, 20, 400).astype(np.float32),
            text: random.choice(CARRIERS, 400),
        }
    )
    late = (frame["temp"].to_numpy() + 15 * (frame[text] == "UA").to_numpy() + random.normal(0, 20, 400)) > 65
    columns = ColumnTransformer(
        [("number", StandardScaler(), ["temp"]), ("text", OneHotEncoder(handle_unknown="ignore"), [text])]
    )
    pipeline = Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(frame, late.astype(np.int64))
    types = [("temp", FloatTensorType([None, 1])), (text, StringTensorType([None, 1]))]
    model: bytes = to_onnx(pipeline, initial_types=types, options={"zipmap": False}).SerializeToString()
    return model


class Blobs:
    """A content-addressed folder, and routes to what is in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        name = digest(data)
        path = self.root / name[3:5] / name[5:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name


class Server:
    """A model server's process, what it is told and what it leaves behind."""

    def __init__(self, folder: Path, blobs: Blobs, *options: str) -> None:
        self.folder, self._options = folder, options
        self.spool, self._routing = folder / "spool", folder / "routing.json"
        self._blobs, self._generation = blobs, 1000
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def route(self, table: RoutingTable | bytes) -> None:
        """Replace the table as the control plane does: in one step."""
        new = self._routing.with_suffix(".new")
        new.write_bytes(table if isinstance(table, bytes) else encode(table))
        new.rename(self._routing)

    def reroute(self, table: RoutingTable) -> Server:
        """Replace the table and wait until it is active, under a generation of its own."""
        self._generation += 1
        self.route(table.but(generation=self._generation))
        self.wait(lambda: bool(self.status()["generation"] == self._generation))
        return self

    def start(self) -> Server:
        command = [
            sys.executable,
            "-m",
            "headway.serving.main",
            "--routing",
            str(self._routing),
            "--port",
            str(self.port),
        ]
        command += ["--blobs", str(self._blobs.root), "--spool", str(self.spool), *self._options]
        self.log = self.folder / "log.jsonl"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env=os.environ | {"POLARS_MAX_THREADS": "1"})
        self.wait(lambda: self.call("GET", "/v2/health/live")[0] == 200)
        return self

    def wait(self, done: Callable[[], bool], timeout_s: float = 20) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(OSError):
                if done():
                    return
            time.sleep(0.02)
        raise AssertionError(f"waited {timeout_s} s in vain; {self.log.read_text()}")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and decoded answer; `body` is bytes, or whatever JSON can say."""
        connection = self.connect()
        try:
            sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, sent, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if answer.getheader("content-type") == "application/json" else text
        finally:
            connection.close()

    def infer(self, body: Any, **headers: str) -> tuple[int, Any]:
        return self.call("POST", "/v2/models/flights/infer", body, {k.replace("_", "-"): v for k, v in headers.items()})

    def status(self) -> Any:
        return self.call("GET", "/v1/status")[1]

    def flush(self) -> Any:
        status, answer = self.call("POST", "/v1/flush")
        assert status == 200
        return answer

    def rows(self) -> pl.DataFrame:
        """All that is captured in the spool."""
        self.flush()
        return pl.concat([pl.read_parquet(path) for path in self.spool.glob("*.parquet")], how="diagonal")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)


class ControlPlane:
    """Takes segments, as the real one does: answers `status` to each."""

    def __init__(self) -> None:
        self.segments: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.status = 201
        plane = self

        class Taker(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                plane.tokens.add(self.headers["authorization"])
                if plane.status < 300:
                    plane.segments[self.path] = body
                self.send_response(plane.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def request(temp: Any = 70.0, carrier: Any = "UA", **more: Any) -> dict[str, Any]:
    """A request of one row, or of as many as the lists hold."""
    temps, carriers = (temp, carrier) if isinstance(temp, list) else ([temp], [carrier])
    inputs = [
        {"name": "temp", "shape": [len(temps), 1], "datatype": "FP32", "data": temps},
        {"name": "carrier", "shape": [len(carriers), 1], "datatype": "BYTES", "data": carriers},
    ]
    return {"inputs": inputs, **more}
