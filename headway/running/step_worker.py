"""The program that is the fork server of a run's steps: `python -m headway.running.step_worker SOCKET`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headway.client.active import ACTIVE
from headway.client.blob_files import BlobFiles
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
    """What a step finds in its worker: the run, to log to, and the blobs."""

    def __init__(self, client: Client, run: bytes) -> None:
        self._client, self._spools, self._run = client, client.spools, run
        self._files = BlobFiles(client.folder / "blobs" if client.folder else None)
        self._handle = self._open(run)

    def _open(self, run: bytes) -> Handle:
        record = msgspec.json.decode(run, type=Run)
        handle = Handle(record, self._client, OnnxExporter(self._client), SystemClock(), self._spools)
        ACTIVE.set(handle)
        return handle

    def enter(self, run: bytes) -> None:
        if run != self._run:
            self._handle.leave()
            self._run, self._handle = run, self._open(run)

    def get(self, blob: str) -> bytes:
        return self._client.blobs.get(blob)

    def put(self, data: bytes) -> str:
        return self._client.blobs.put(data)

    def file(self, blob: str) -> Path | None:
        return self._files.path(blob)

    def flush(self) -> None:
        self._handle.flush()

    def close(self) -> None:
        self._handle.leave()
        self._client.close()


def _relayed_desk(opening: Opening, relay: socket.socket) -> RunDesk:
    """All goes through the run's own process."""
    spools = Path(opening.spools) if opening.spools else None
    return RunDesk(Client(Connection(opening.url, transport=RelayTransport(relay)), spools=spools), opening.run)


@contextmanager
def open_remote(url: str, token: str, run: bytes) -> Iterator[RunDesk]:
    """A desk on another machine, which asks the server itself."""
    before = ACTIVE.get()
    desk = RunDesk(Client(Connection(url, token)), run)
    try:
        yield desk
    finally:
        ACTIVE.set(before)
        desk.close()


def _work(opening: Opening, calls: socket.socket, relay: socket.socket) -> None:
    work(opening, calls, relay, _relayed_desk)


def main(arguments: list[str]) -> None:
    serve(socket.socket(fileno=int(arguments[0])), [*COMMAND, arguments[0]], _work)


if __name__ == "__main__":
    main(sys.argv[1:])
