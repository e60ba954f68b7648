"""Deployments as processes of this machine: a model server for each, or one that several share, on loopback.

A server is told everything by its routing files. It outlives a control plane that was killed, serves on, and is found
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
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from headway.engines import processes
from headway.engines.processes import Child
from headway.engines.runtimes.environments import FOLDER
from headway.engines.targets.places import Place, Places
from headway.kernel.records import digest, encode
from headway.kernel.version import VERSION
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.lifecycle.rollouts.target import Endpoint

COMMAND = (sys.executable, "-P", "-m", "headway.serving.main")
BUILD = f"{VERSION} {digest(encode(msgspec.json.schema(RoutingTable)))[3:19]}"
"""What a server was started as: its version, and what it reads in a routing table. One that reads less would refuse a
table with fields that it does not know, and one that left them out would serve without a limit that was set."""
_HOST = "127.0.0.1"
_ENVIRONMENT = {"POLARS_MAX_THREADS": "1"}
"""Writing captured rows must not take the cores that requests are answered on."""
_FAILURES_AT_A_PORT = 3
"""After so many, somebody else may have the port."""
_STARTING_S = 30.0
"""A server that does not answer within this time of its start is replaced."""


class ProcessTarget:
    """`folder` holds a folder for each deployment, and `servers` beside it one for each server that is shared: routing
    tables, spool, log, and a note of its process.

    `control_file` says where the control plane is, which may be elsewhere after a restart; servers read it again.
    """

    def __init__(
        self, folder: Path, blobs: Path, control_file: Path, token_file: Path, command: Sequence[str] = COMMAND
    ) -> None:
        self._places, self._environments = Places(folder, folder.with_name("servers")), folder.parent / FOLDER
        self._blobs, self._control_file, self._token_file = blobs, control_file, token_file
        self._command = command
        self._lock = threading.RLock()
        self._started_at: dict[Place, float] = {}
        self._failures: dict[Place, int] = {}
        self._minded: set[Place] = set()
        """Where a server was started or seen alive, and not stopped since."""
        self._ends: Counter[Place] = Counter()
        """How often one that was minded ended, and how often workers of the one that is there."""
        self._worker_ends: dict[Place, int] = {}

    def apply(self, table: RoutingTable) -> None:
        """Write the routing table and see that a server reads it; without routes nothing serves the deployment.

        Where the deployment was served elsewhere, that goes on until the table is served here.
        """
        with self._lock:
            place, file = self._places.of(table), self._places.of(table).table(table.deployment)
            if place.server and not table.routes:
                file.unlink(missing_ok=True)
            elif not file.exists() or file.read_bytes() != encode(table):
                file.parent.mkdir(parents=True, exist_ok=True)
                processes.write_whole(file, encode(table))
            self._ensure(place)
            for other in self._places.around(table.deployment):
                if other != place:
                    self._leave(other, place, table)

    def tend(self) -> None:
        """Start again what died or hangs."""
        with self._lock:
            for place in self._places.all():
                self._ensure(place)

    def observe(self, deployment: str) -> Endpoint | None:
        """What answers now: while a deployment moves to another server, the one before until the other does."""
        seen = [self._asked(place, deployment) for place in self._places.around(deployment) if place.holds(deployment)]
        found = sorted((each for each in seen if each), key=lambda each: (each.ready, each.generation))
        return found[-1] if found else None

    def close(self) -> None:
        """Stop every server, letting each flush what it captured."""
        with self._lock:
            for place in self._places.all():
                self._stop(place)

    def _asked(self, place: Place, deployment: str) -> Endpoint | None:
        child = processes.recall(place.note)
        if child is None:
            return None
        seen = Endpoint(
            deployment=deployment, url=f"http://{_HOST}:{child.port}", generation=0, ready=False, server=place.server,
            ends=self._ends[place] + self._worker_ends.get(place, 0),
        )  # fmt: skip
        try:
            status = _get(child.port, "/v1/status")
        except OSError as error:
            return seen.but(error=str(error) or "no answer")
        if place.server and (status := status["deployments"].get(deployment)) is None:
            return seen
        # A worker that is just being replaced tells nothing.
        told = sum(worker.get("ends", 0) for worker in status["workers"])
        self._worker_ends[place] = max(told, self._worker_ends.get(place, 0))
        ends = self._ends[place] + self._worker_ends[place]
        return seen.but(generation=int(status["generation"]), ready=True, error=status.get("error") or "", ends=ends)

    def _leave(self, before: Place, now: Place, table: RoutingTable) -> None:
        """Let a deployment go from where it was served before, once it is served here; what was captured and not sent
        yet is sent from here."""
        name = table.deployment
        if before.holds(name):
            here = self._asked(now, name)
            if table.routes and not (here and here.ready and here.generation >= table.generation and not here.error):
                return
            before.table(name).unlink(missing_ok=True)
            self._ensure(before)
        for segment in before.spool_of(name).glob("*.parquet"):
            now.spool_of(name).mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # sent meanwhile
                segment.replace(now.spool_of(name) / segment.name)

    def _ensure(self, place: Place) -> None:
        tables = [table for table in place.tables() if table.routes]
        child = processes.recall(place.note)
        running = child is not None and processes.alive(child)
        workers = max((table.workers for table in tables), default=1)
        if not tables:
            if running:
                self._stop(place)
        elif child is None or not running:
            self._note_end(place)
            self._start(place, workers, child)
        elif (child.workers, child.build) != (workers, BUILD):
            self._stop(place)
            self._failures.pop(place, None)  # it is stopped on purpose, so that no pause is due
            self._start(place, workers, child)
        elif self._hangs(place, child):
            processes.end(child, patience_s=0.0)
            self._note_end(place)
            self._start(place, workers, child)
        else:
            self._minded.add(place)

    def _note_end(self, place: Place) -> None:
        if place in self._minded:
            self._minded.discard(place)
            self._ends[place] += 1
            self._worker_ends.pop(place, None)

    def _hangs(self, place: Place, child: Child) -> bool:
        try:
            _get(child.port, "/v2/health/live")
        except OSError:
            return time.monotonic() - self._started_at.setdefault(place, time.monotonic()) > _STARTING_S
        self._started_at[place] = time.monotonic()
        self._failures.pop(place, None)
        return False

    def _start(self, place: Place, workers: int, before: Child | None) -> None:
        failures = self._failures.get(place, 0)
        last = self._started_at.get(place)
        if failures and last is not None and time.monotonic() - last < min(0.25 * 2**failures, 30.0):
            return
        port = before.port if before and failures < _FAILURES_AT_A_PORT else _free_port()
        command = [
            *self._command, "--routing", str(place.told), "--blobs", str(self._blobs), "--spool", str(place.spool),
            "--port", str(port), "--host", _HOST, "--control-file", str(self._control_file),
            "--token-file", str(self._token_file), "--workers", str(workers),
            "--environments", str(self._environments),
        ]  # fmt: skip
        pid = processes.start(command, place.log, {**os.environ, **_ENVIRONMENT})
        started = Child(pid=pid, mark=str(place.told), port=port, workers=workers, build=BUILD)
        processes.remember(started, place.note)
        self._started_at[place] = time.monotonic()
        self._failures[place] = failures + 1
        self._minded.add(place)

    def _stop(self, place: Place) -> None:
        child = processes.recall(place.note)
        self._minded.discard(place)
        self._worker_ends.pop(place, None)
        if child:
            processes.end(child, patience_s=10.0)


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
