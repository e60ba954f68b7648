"""Deployments as processes of this machine: one model server each, on loopback.

A server is told everything by its routing file. It outlives a control plane that was killed, serves on, and is found
again by the next one; a server that died is started again on the same port.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.engines import processes
from headway.engines.processes import Child
from headway.engines.runtimes.environments import FOLDER
from headway.kernel.records import encode
from headway.lifecycle.rollouts.routing import RoutingTable, read_table
from headway.lifecycle.rollouts.target import Endpoint

_HOST = "127.0.0.1"
_ENVIRONMENT = {"POLARS_MAX_THREADS": "1"}
"""Writing captured rows must not take the cores that requests are answered on."""
_FAILURES_AT_A_PORT = 3
"""After so many, somebody else may have the port."""
_STARTING_S = 30.0
"""A server that does not answer within this time of its start is replaced."""


class ProcessTarget:
    """`folder` holds a folder for each deployment: routing file, spool, log, and a note of its process.

    `control_file` says where the control plane is, which may be elsewhere after a restart; servers read it again.
    """

    def __init__(self, folder: Path, blobs: Path, control_file: Path, token_file: Path) -> None:
        self._folder, self._blobs, self._control_file, self._token_file = folder, blobs, control_file, token_file
        self._lock = threading.RLock()
        self._started_at: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def apply(self, table: RoutingTable) -> None:
        """Write the routing table and see that a server reads it; without routes the server is stopped."""
        with self._lock:
            routing = self._routing(table.deployment)
            routing.parent.mkdir(parents=True, exist_ok=True)
            if not routing.exists() or routing.read_bytes() != encode(table):
                processes.write_whole(routing, encode(table))
            self._ensure(table.deployment)

    def tend(self) -> None:
        """Start again what died or hangs."""
        with self._lock:
            for routing in self._folder.glob("*/routing.json"):
                self._ensure(routing.parent.name)

    def observe(self, deployment: str) -> Endpoint | None:
        child = processes.recall(self._note(deployment))
        if child is None:
            return None
        url = f"http://{_HOST}:{child.port}"
        try:
            status = _get(child.port, "/v1/status")
        except OSError as error:
            return Endpoint(deployment=deployment, url=url, generation=0, ready=False, error=str(error) or "no answer")
        return Endpoint(
            deployment=deployment,
            url=url,
            generation=int(status["generation"]),
            ready=True,
            error=status.get("error") or "",
        )

    def close(self) -> None:
        """Stop every server, letting each flush what it captured."""
        with self._lock:
            for note in self._folder.glob("*/process.json"):
                self._stop(note.parent.name)

    def _ensure(self, deployment: str) -> None:
        table = read_table(self._routing(deployment).read_bytes())
        child = processes.recall(self._note(deployment))
        running = child is not None and processes.alive(child)
        if not table.routes:
            if running:
                self._stop(deployment)
        elif child is None or not running:
            self._start(table, child)
        elif child.workers != table.workers:
            self._stop(deployment)
            self._failures.pop(deployment, None)  # it is stopped on purpose, so that no pause is due
            self._start(table, child)
        elif self._hangs(deployment, child):
            processes.end(child, patience_s=0.0)
            self._start(table, child)

    def _hangs(self, deployment: str, child: Child) -> bool:
        try:
            _get(child.port, "/v2/health/live")
        except OSError:
            return time.monotonic() - self._started_at.setdefault(deployment, time.monotonic()) > _STARTING_S
        self._started_at[deployment] = time.monotonic()
        self._failures.pop(deployment, None)
        return False

    def _start(self, table: RoutingTable, before: Child | None) -> None:
        deployment = table.deployment
        failures = self._failures.get(deployment, 0)
        last = self._started_at.get(deployment)
        if failures and last is not None and time.monotonic() - last < min(0.25 * 2**failures, 30.0):
            return
        port = before.port if before and failures < _FAILURES_AT_A_PORT else _free_port()
        folder = self._folder / deployment
        command = [
            sys.executable, "-m", "headway.serving.main", "--routing", str(self._routing(deployment)),
            "--blobs", str(self._blobs), "--spool", str(folder / "spool"), "--port", str(port), "--host", _HOST,
            "--control-file", str(self._control_file), "--token-file", str(self._token_file),
            "--workers", str(table.workers), "--environments", str(self._folder.parent / FOLDER),
        ]  # fmt: skip
        pid = processes.start(command, folder / "server.log", {**os.environ, **_ENVIRONMENT})
        started = Child(pid=pid, mark=str(self._routing(deployment)), port=port, workers=table.workers)
        processes.remember(started, self._note(deployment))
        self._started_at[deployment] = time.monotonic()
        self._failures[deployment] = failures + 1

    def _stop(self, deployment: str) -> None:
        child = processes.recall(self._note(deployment))
        if child:
            processes.end(child, patience_s=10.0)

    def _routing(self, deployment: str) -> Path:
        return self._folder / deployment / "routing.json"

    def _note(self, deployment: str) -> Path:
        return self._folder / deployment / "process.json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _get(port: int, path: str) -> Mapping[str, Any]:
    """The JSON answer of a local server; raises `OSError` when there is none."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=2.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise OSError(f"status {answer.status}")
        return dict(json.loads(body))
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no sensible answer: {error}") from error
    finally:
        connection.close()
