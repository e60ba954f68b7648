"""The parent of the workers of a model server: it starts them, starts again what dies, and stops them all.

Each worker holds one end of a pipe, its standard input, whose other end is here alone: however this process ends, the
workers read the end of it, and stop in order.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

STOP_TIMEOUT_S = 45.0
"""Longer than a worker takes to drain its requests."""
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 30.0
_SOUND_S = 10.0
"""A worker that lived this long is started again as if it had never failed."""
_LOOK_S = 1.0

log = logging.getLogger(__name__)


class Slot:
    """The place of one worker, who has it now, and how many that had it have ended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at_s = self.due_at_s = 0.0
        self.failures = self.ends = 0

    def start(self, command: Sequence[str], now_s: float) -> None:
        self.process, self.started_at_s = subprocess.Popen(command, stdin=subprocess.PIPE), now_s

    def bury(self, now_s: float) -> int | None:
        """The return code of a worker that has ended; its successor is due after a pause that grows."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        if self.process.stdin:
            self.process.stdin.close()
        self.process = None
        self.ends += 1
        self.failures = 0 if now_s - self.started_at_s > _SOUND_S else self.failures + 1
        self.due_at_s = now_s + min(_FIRST_DELAY_S * 2**self.failures, _LONGEST_DELAY_S) if self.failures else now_s
        return code


class Supervisor:
    """Keeps `workers` processes of `command`, each told its slot and the folder where it finds the others."""

    def __init__(self, command: Sequence[str], workers: int, elapsed_s: Callable[[], float] = time.monotonic) -> None:
        self._command, self._elapsed_s = list(command), elapsed_s
        self._slots = [Slot(number) for number in range(workers)]
        self._stopping = self._proven = False

    def run(self) -> int:
        """The exit code: 0 after SIGTERM or SIGINT; a worker's own when none of them could ever start."""
        # Not in the spool: the path of a Unix socket may have 100 characters or so.
        with tempfile.TemporaryDirectory(prefix="headway-", ignore_cleanup_errors=True) as folder:
            self._folder = Path(folder)
            woken = self._listen()
            code = 0
            while not (self._stopping or code):
                self._start()
                select.select([woken], [], [], self._pause_s())
                _empty(woken)
                code = self._look()
            self._stop()
        return code

    def _listen(self) -> int:
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._hear)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        return woken

    def _hear(self, number: int, _frame: object) -> None:
        self._stopping = self._stopping or number != signal.SIGCHLD

    def _start(self) -> None:
        now_s = self._elapsed_s()
        for slot in self._slots:
            if slot.process is None and slot.due_at_s <= now_s:
                told = ["--siblings", str(self._folder), "--slot", str(slot.number), "--ends", str(slot.ends)]
                slot.start([*self._command, *told], now_s)

    def _pause_s(self) -> float:
        waits = [slot.due_at_s - self._elapsed_s() for slot in self._slots if slot.process is None]
        return max(0.0, min([_LOOK_S, *waits]))

    def _look(self) -> int:
        """Notice who has ended; not 0 when there is no use in going on."""
        self._proven = self._proven or any(self._folder.rglob("*.sock"))
        for slot in self._slots:
            code = slot.bury(self._elapsed_s())
            if code is None or self._stopping:
                continue
            if not self._proven and code > 0:
                return code
            log.warning("worker ended", extra={"facts": {"slot": slot.number, "code": code}})
        return 0

    def _stop(self) -> None:
        alive = [slot.process for slot in self._slots if slot.process]
        for process in alive:
            process.terminate()
        end_s = self._elapsed_s() + STOP_TIMEOUT_S
        for process in alive:
            try:
                process.wait(max(0.0, end_s - self._elapsed_s()))
            except subprocess.TimeoutExpired:
                log.warning("worker killed", extra={"facts": {"pid": process.pid}})
                process.kill()
                process.wait()


def _empty(pipe: int) -> None:
    try:
        while os.read(pipe, 512):
            pass
    except BlockingIOError:
        pass
