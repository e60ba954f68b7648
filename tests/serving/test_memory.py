"""A model server's memory and start: what it takes, and that it does not grow with what it has answered."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.lifecycle.rollouts.routing import Route, RoutingTable
from tests.serving.conftest import StartServer
from tests.serving.processes import Blobs, Server, request
from tests.serving.test_turn import SIGNATURE as NUMBERS
from tests.serving.test_turn import TREES, WIDTH

_PIPELINED = 50
_MIB = 2**20
_MOST_GROWTH = 3 * _MIB
"""The heap is trimmed once it has grown by 1."""


def resident_bytes(server: Server) -> int:
    return int(server.status()["workers"][0]["resident_bytes"])


def resident_over(
    server: Server, asked: dict[str, Any], requests: int, looks: int = 20, together: int = _PIPELINED
) -> list[int]:
    """The resident memory after each `looks`-th part of `requests`, of which so many are sent `together`."""
    body = json.dumps(asked).encode()
    one = b"POST /v2/models/flights/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    seen = []
    with socket.create_connection(("127.0.0.1", server.port)) as connection, connection.makefile("rb") as answers:
        for _ in range(looks):
            for _ in range(requests // looks // together):
                connection.sendall(one * together)
                assert sum(_status(answers) == 200 for _ in range(together)) == together
            for path in server.spool.glob("*.parquet"):
                path.unlink(missing_ok=True)
            seen.append(resident_bytes(server))
    return seen


def _status(answers: BufferedReader) -> int:
    """Read one answer."""
    status, length = int(answers.readline().split()[1]), 0
    while (line := answers.readline()) != b"\r\n":
        if line.startswith(b"content-length: "):
            length = int(line.split()[1])
    answers.read(length)
    return status


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["alone", "together", "one by one"])
def test_memory_is_flat_over_a_million_requests(start_server: StartServer, blobs: Blobs, kind: str) -> None:
    numbers = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": [0.5] * WIDTH}
    route = Route(release="rl_n", model="m", version=1, blob=blobs.put(TREES), signature=NUMBERS, percent=100)
    table = RoutingTable(deployment="flights", generation=1, routes=(route,)) if kind != "alone" else None
    asked = {"inputs": [numbers]} if kind != "alone" else request()
    together, count = (1, 300_000) if kind == "one by one" else (_PIPELINED, 1_000_000)
    seen = resident_over(start_server(table), asked, count, together=together)
    later = np.array(seen[len(seen) // 4 :], dtype=float)  # once arenas and queues have their size
    slope = np.polyfit(np.arange(len(later)), later, 1)[0] * len(later)
    assert slope < _MOST_GROWTH, [each // _MIB for each in seen]


def test_what_writes_rows_is_imported_when_they_are_captured_and_is_not_polars(start_server: StartServer) -> None:
    server = start_server()
    maps = Path(f"/proc/{server.process.pid}/maps")
    assert "arro3" not in maps.read_text()
    assert resident_bytes(server) < 100 * _MIB
    server.infer(request())
    server.flush()
    assert "arro3" in maps.read_text()
    assert "polars" not in maps.read_text()
    assert resident_bytes(server) < 105 * _MIB


def test_a_parent_of_workers_imports_little() -> None:
    code = (
        "import sys, headway.serving.main; print([m for m in ('numpy', 'onnxruntime', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_server_starts_without_what_only_others_need() -> None:
    """What is large, and what is small but no use before somebody asks for it."""
    unwanted = (
        "polars",
        "sklearn",
        "onnx",
        "skl2onnx",
        "arro3",
        "sqlite3",
        "importlib.metadata",
        "pyarrow",
        "http.client",
    )
    program = (
        f"import sys, headway.serving.process, headway.serving.grpc.service;print(*set({unwanted}) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
