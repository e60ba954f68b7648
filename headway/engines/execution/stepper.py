"""The worker of steps: a forked process that runs one call after another, and ends with its keeper."""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from headway.engines.execution.gpus import GPUS
from headway.engines.execution.parcels import found_at
from headway.engines.execution.perform import perform
from headway.engines.execution.wire import Call, Done, Failed, Line, Opening
from headway.engines.pipelines import scratch

_MOST_GROWTH_BYTES = 512 * 2**20


class Desk(Protocol):
    """What a step finds where it runs: blobs, and the run that it logs to."""

    def get(self, blob: str) -> bytes: ...
    def put(self, data: bytes) -> str: ...

    def file(self, blob: str) -> Path | None:
        """The file on this machine that holds the blob, if it is worth to be mapped."""
        ...

    def enter(self, run: bytes) -> None:
        """Log to this run from now on."""
        ...

    def flush(self) -> None:
        """Bring all that was logged to the platform; raises what was refused."""
        ...


OpenDesk = Callable[[Opening, socket.socket], Desk]


def work(opening: Opening, calls: socket.socket, relay: socket.socket, open_desk: OpenDesk) -> None:
    """Answer calls until nobody sends any more."""
    line, desk, folder = Line(calls), open_desk(opening, relay), Path(opening.folder)
    before = _resident_bytes()
    while isinstance(call := line.receive(), Call):
        answer = _answer(call, folder, desk)
        scratch.clear()
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(answer, Done) and _resident_bytes() - before > _MOST_GROWTH_BYTES:
            gc.collect()
            answer = Done(answer.outputs, retire=_resident_bytes() - before > _MOST_GROWTH_BYTES)
        line.send(answer)


def _answer(call: Call, folder: Path, desk: Desk) -> Done | Failed:
    if call.gpus is not None:
        os.environ[GPUS] = ",".join(call.gpus)
    if call.run:
        desk.enter(call.run)
    with suppress(Exception, SystemExit):  # outside of the limit; what is wrong is told by the call itself
        found_at(call.step)
    with limited(call.memory_mb):
        return perform(call, folder, desk.get, desk.put, desk.flush, desk.file)


@contextmanager
def limited(memory_mb: int) -> Iterator[None]:
    """Let this process, and each that it starts, use so much more memory than it holds now."""
    if not memory_mb:
        yield
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_pages(0) + memory_mb * 2**20, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _resident_bytes() -> int:
    return _pages(1)


def _pages(column: int) -> int:
    """Of /proc/self/statm: 0 is the address space, 1 what is resident; 0 bytes where there is none."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[column])
    except (OSError, ValueError):
        return 0
    return pages * resource.getpagesize()
