"""One reader of tables as its parent sees it: a process that a table may end or hang, and nothing else suffers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from headway import errors
from headway.engines.tables.questions import MOST_ANSWER_BYTES, Failed, Question, read_answer, receive, send
from headway.errors import HeadwayError, Unavailable

STARTING_S = 30.0
_LAST_WORDS_BYTES = 4000
_LEAVES = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HeadwayError)
}
_THREADS = {"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Each thread of a pool takes address space, of which a reader has little."""
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Wanted = TypeVar("Wanted")


class Gone(Exception):
    """The reader gave no answer that can be used, and was ended; the text says why."""


class Killed(Gone):
    """It was ended from outside, as neither a table nor a library does: the question may be asked of another."""


class Reader:
    """A process of `command`, alone with its standard streams; for one thread at a time, but for `end`."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises `OSError` when there can be no process; it still has to be `ready`."""
        self._lock = threading.Lock()
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._last_words, env=_environment(),
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            self._last_words.close()
            raise
        assert self._process.stdin
        assert self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout
        self.said = ""
        """What it wrote to standard error while it was asked last, once it has ended."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ready(self) -> None:
        """Wait until it takes questions; raises `Unavailable` when it will not."""
        try:
            self._exchanged(None, STARTING_S)
        except (Gone, ValueError) as error:
            self.end()
            reason = self.said.strip().rpartition("\n")[2] or str(error)
            raise Unavailable(f"no reader of tables starts: {reason[:200]}; see to it, then send it again") from error

    def ask(self, question: Question, wanted: type[Wanted], limit_s: float) -> Wanted:
        """The answer, read as `wanted`. Raises what looking at the table raised, and `Gone`."""
        self._forget_words()
        try:
            answer = read_answer(self._exchanged(question, limit_s))
            if not isinstance(answer, Failed):
                return msgspec.msgpack.decode(answer.value, type=wanted)
            leaf = _LEAVES[answer.code]
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            self.end()
            raise Gone("what came back is no answer") from error
        raise leaf(answer.message)

    def end(self) -> int:
        """Kill it and tidy up; its exit code. May be called from any thread, and again."""
        with self._lock:
            self._process.kill()
            code = self._process.wait()
            for pipe in (self._questions, self._answers):
                with contextlib.suppress(OSError):  # what was not sent yet has nowhere to go
                    pipe.close()
            if not self._last_words.closed:
                size = self._last_words.seek(0, os.SEEK_END)
                self._last_words.seek(max(0, size - _LAST_WORDS_BYTES))
                self.said = self._last_words.read().decode(errors="replace")
                self._last_words.close()
        return code

    def _forget_words(self) -> None:
        """Before a question, not before it is ready: what cannot start may have said why by then."""
        self._last_words.seek(0)
        self._last_words.truncate()

    def _exchanged(self, question: Question | None, limit_s: float) -> bytes:
        """Raises `Gone`, and `ValueError` for an answer that is too long."""
        began, body = time.monotonic(), None
        watchdog = threading.Timer(limit_s, self._process.kill)
        watchdog.daemon = True  # a process that ends does not wait for it
        watchdog.start()
        try:
            if question is not None:
                send(self._questions, question)
            body = receive(self._answers, MOST_ANSWER_BYTES)
        except OSError:
            pass  # it ended before it had heard all
        finally:
            watchdog.cancel()
        if body is not None:
            return body
        code = self.end()
        if time.monotonic() - began >= limit_s:
            raise Gone(f"it takes more than {limit_s:g} s")
        if -code in _FROM_OUTSIDE:
            raise Killed("its reader was killed")
        raise Gone(f"its reader ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}")


def _environment() -> dict[str, str]:
    """Where this process finds its modules, and nothing of its secrets."""
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {**libraries, **_THREADS, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}
