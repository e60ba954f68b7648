"""The fork server, and the keepers of workers.

    run ── fork server ──┬── keeper ── worker ── what its step starts
                         └── keeper ── worker

The fork server imports the project's modules once and has no threads, so that a fork of it is a worker that is ready at
once. Each worker has a keeper, which adopts whatever is orphaned below it, and so can end all of it. None of them runs
longer than the run: each ends what is below it when the one above is gone, however that came.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import select
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from headway.engines.execution import trees
from headway.engines.execution.wire import Line, Opening
from headway.engines.pipelines.objects import MAIN
from headway.engines.pipelines.sources import open_project

READY, COLD = b"r", b"c"
"""What the fork server says when it is: ready, or begun anew because of threads and waiting for a cold opening."""
KEEP, FORK, END = b"k", b"f", b"e"
REPORT = struct.Struct("<cii")
"""What a keeper says: FORK and a pid, END, or GONE with pid and status."""
GONE = b"g"
_PATIENCE_MS = 5_000
_LOOK_MS = 500

Work = Callable[[Opening, socket.socket, socket.socket], None]


def serve(control: socket.socket, command: list[str], work: Work) -> None:
    """Be a fork server for the run at the other end of `control`. `command` starts this program anew."""
    opening = Line(control).receive()
    if not isinstance(opening, Opening):
        return
    # Python warns of any thread, also of those that are known to be harmless: `trees.py` looks closer.
    warnings.filterwarnings("ignore", ".* is multi-threaded", DeprecationWarning)
    _prepare(opening)
    if not opening.cold and trees.threads_running():
        control.sendall(COLD)
        os.set_inheritable(control.fileno(), True)
        os.execv(command[0], command)
    trees.adopt_orphans()
    gc.collect()
    gc.freeze()  # so that workers share these pages for as long as they can
    control.sendall(READY)
    keepers: set[int] = set()
    while True:
        if select.select([control], [], [], _LOOK_MS / 1000)[0]:
            said, given, _, _ = socket.recv_fds(control, 1, 1)
            if said != KEEP or not given:
                break
            keepers.add(_fork_keeper(opening, control, given[0], work))
            os.close(given[0])
        _bury(keepers)
    _close(keepers)


def _prepare(opening: Opening) -> None:
    sys.path[:] = [*opening.paths]
    open_project(Path(opening.folder))
    if opening.cold:
        return
    for name in opening.modules:
        with contextlib.suppress(Exception, SystemExit):  # the worker that needs it says what is wrong
            importlib.import_module(name)
    if opening.main:
        with contextlib.suppress(Exception, SystemExit):
            import_main(opening.main)


def import_main(file: str) -> None:
    """Import a script under the name by which workers know it."""
    spec = importlib.util.spec_from_file_location(MAIN, file)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[MAIN] = module
    spec.loader.exec_module(module)


def _fork_keeper(opening: Opening, server: socket.socket, control: int, work: Work) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    with _last_of_its_process():
        server.close()
        signal.signal(signal.SIGTERM, lambda number, frame: _end())
        trees.end_with_parent(parent, signal.SIGTERM)
        trees.adopt_orphans()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the run is gone
            keep(opening, socket.socket(fileno=control), work)
        _end()
    os._exit(0)


def _end() -> NoReturn:
    trees.end_children()
    os._exit(0)


def _bury(keepers: set[int]) -> None:
    """Let go of keepers that ended, and end those whose keeper was killed: they are ours now."""
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            keepers.discard(pid)
    strays = [pid for pid in trees.descendants(os.getpid()) if keepers.isdisjoint({pid, *_ancestors(pid)})]
    for pid in strays:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1 and pid != os.getpid():
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
        found.append(pid)
    return found


def _close(keepers: set[int]) -> None:
    """The run is gone or done: keepers see it too, and get some time before they are ended."""
    for _ in range(_PATIENCE_MS // 10):
        _bury(keepers)
        if not keepers:
            break
        select.select([], [], [], 0.01)
    trees.end_children()


def keep(opening: Opening, control: socket.socket, work: Work) -> None:
    """Fork workers when told, one at a time, and end them with all below them; say when one ended by itself."""
    worker, ended = 0, -1
    while True:
        ready = select.select([control] + ([ended] if ended >= 0 else []), [], [], _LOOK_MS / 1000)[0]
        if control in ready:
            said, given, _, _ = socket.recv_fds(control, 1, 3)
            if said == FORK:
                worker = _fork_worker(opening, control, given, work)
                ended = _pidfd(worker)
                for each in given:
                    os.close(each)
                control.sendall(REPORT.pack(FORK, worker, 0))
                continue
            if said != END:
                return
            trees.end_children(worker or None)
            worker, ended = 0, _closed(ended)
            control.sendall(REPORT.pack(END, 0, 0))
        elif worker:
            pid, status = os.waitpid(worker, os.WNOHANG)
            if pid:
                trees.end_children()
                worker, ended = 0, _closed(ended)
                control.sendall(REPORT.pack(GONE, pid, status))


def _pidfd(pid: int) -> int:
    """A descriptor that can be read once `pid` has ended; -1 where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1


def _fork_worker(opening: Opening, control: socket.socket, given: list[int], work: Work) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    with _last_of_its_process():
        control.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        trees.end_with_parent(parent, signal.SIGKILL)
        calls, relay, output = given
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.close(output)
        if opening.cold and opening.main:
            import_main(opening.main)
        work(opening, socket.socket(fileno=calls), socket.socket(fileno=relay))
    os._exit(0)


class _last_of_its_process(contextlib.AbstractContextManager[None]):
    """No exception leads from a fork back into what it was forked from."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            sys.excepthook(type(error), error, error.__traceback__)
            os._exit(1)
