"""The program that is the fork server of a run's steps: `python -m headway.running.step_worker SOCKET`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import msgspec

from headway.client.active import ACTIVE
from headway.client.client import Client
from headway.client.http import Connection
from headway.client.run import Run as Handle
from headway.engines.execution.forks import serve
from headway.engines.execution.stepper import work
from headway.engines.execution.wire import Opening
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.records import Run
from headway.running.exporter import OnnxExporter
from headway.running.relay import RelayTransport

COMMAND = (sys.executable, "-m", "headway.running.step_worker")


class RunDesk:
    """What a step finds in its worker: the run, to log to, and the blobs, both through the run's own process."""

    def __init__(self, opening: Opening, relay: socket.socket) -> None:
        spools = Path(opening.spools) if opening.spools else None
        self._client = Client(Connection(opening.url, transport=RelayTransport(relay)), spools=spools)
        record = msgspec.json.decode(opening.run, type=Run)
        self._handle = Handle(record, self._client, OnnxExporter(self._client), SystemClock(), spools)
        ACTIVE.set(self._handle)

    def get(self, blob: str) -> bytes:
        return self._client.blobs.get(blob)

    def put(self, data: bytes) -> str:
        return self._client.blobs.put(data)

    def flush(self) -> None:
        self._handle.flush()


def _work(opening: Opening, calls: socket.socket, relay: socket.socket) -> None:
    work(opening, calls, relay, RunDesk)


def main(arguments: list[str]) -> None:
    serve(socket.socket(fileno=int(arguments[0])), [*COMMAND, arguments[0]], _work)


if __name__ == "__main__":
    main(sys.argv[1:])
