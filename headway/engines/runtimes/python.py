"""A model in a process of its own, as its parent sees it: it may crash, hang or eat memory, and no other suffers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import to_builtins
from numpy.typing import NDArray

from headway.engines.runtimes import isolated
from headway.engines.runtimes.isolated import DTYPES, Memory, receive, send
from headway.engines.runtimes.skops import ALLOWED_TYPES
from headway.errors import Invalid, Unavailable
from headway.lifecycle.models.records import Datatype, Feeding, Form, PythonRuntime, Signature

MIB = 2**20
_LAST_WORDS_BYTES = 4000
_LARGEST_PART = 1 << 20


class Raised(Exception):
    """The model raised an error on these rows; it is there for the next ones. `trace` says where, for those who look
    after it."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


@dataclass(frozen=True)
class Plan:
    """What is to run where. `path` is the skops file or the folder of the MLflow model, with nothing else beside it
    that a model may not read; without a signature the worker is only asked what it has loaded."""

    form: Form
    path: Path
    runtime: PythonRuntime = field(default_factory=PythonRuntime)
    signature: Signature | None = None
    feeding: Feeding = Feeding.FRAME


class PythonWorker:
    """The process of `plan`, started and with its model loaded; for one thread at a time, but for `end`.

    The thread that makes it must outlive it: Linux ends the process with that thread. Raises `Invalid` for a model
    that does not load, `Unavailable` when there can be no process.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self._lock = plan, threading.Lock()
        self._work = tempfile.TemporaryDirectory(prefix="headway-worker-", ignore_cleanup_errors=True)
        self._asked, self._answered = _memory("asked"), _memory("answered")
        self._ours, theirs = socket.socketpair()
        shared = [theirs.fileno(), self._asked, self._answered]
        try:
            self._process = subprocess.Popen(
                [*_command(plan.runtime), *map(str, shared), str(plan.runtime.memory_mb * MIB),
                 str(int(plan.runtime.network))],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self._work.name,
                env=_environment(self._work.name), pass_fds=[each for each in shared if each >= 0],
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._tidy()
            raise Unavailable(f"{plan.runtime.python or sys.executable} cannot be started: {error}") from error
        finally:
            theirs.close()
        self._words: deque[bytes] = deque(maxlen=40)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._memories = Memory(self._asked), Memory(self._answered)
        self.about = self._loaded()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """What it wrote last."""
        return b"".join(self._words).decode(errors="replace")[-_LAST_WORDS_BYTES:]

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs in the signature's order, one entry per row. Raises `Raised`, and `Unavailable` when the process
        ended or took longer than its limit; it is ended then."""
        assert self._plan.signature
        header, outputs = self._exchanged({}, dict(feed), self._plan.runtime.time_limit_s)
        if "failed" in header:
            raise Raised(header["failed"], str(header.get("trace", "")))
        rows = len(next(iter(feed.values())))
        try:
            return [_checked(outputs, spec.name, spec.datatype, rows) for spec in self._plan.signature.outputs]
        except ValueError as error:
            raise Raised(str(error)) from None

    def end(self) -> None:
        """Kill it, and what it has started, and tidy up. May be called from any thread, and again."""
        with self._lock:
            if self._ours.fileno() < 0:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._listener.join(1.0)
            self._tidy()
            if self._process.stderr:
                self._process.stderr.close()

    def _loaded(self) -> Any:
        plan = self._plan
        told = {
            "kind": plan.form, "path": str(plan.path), "allowed": sorted(ALLOWED_TYPES),
            "signature": {**to_builtins(plan.signature), "feeding": plan.feeding,
                          "tensor": plan.signature.inputs[0].datatype} if plan.signature else None,
        }  # fmt: skip
        answer, _ = self._exchanged(told, {}, plan.runtime.start_limit_s)
        if "failed" in answer:
            self.end()
            why = f"the model does not load: {answer['failed']}"[:1000]
            if answer["failed"].startswith("ModuleNotFoundError"):
                python = plan.runtime.python or sys.executable
                why += f"; install it for {python}, or choose an interpreter that has it"
            raise Invalid(why)
        return answer["ready"]

    def _exchanged(
        self, header: Any, tensors: isolated.Tensors, limit_s: float
    ) -> tuple[dict[str, Any], isolated.Tensors]:
        deadline = time.monotonic() + limit_s
        try:
            self._ours.settimeout(limit_s)
            send(self._ours, header, tensors, self._memories[0])
            answer, outputs = receive(_reader(self._ours, deadline), self._memories[1])
            if not isinstance(answer, dict):
                raise ValueError("no object")
        except TimeoutError:
            reason = f"it took more than {limit_s:g} s"
        except (OSError, EOFError):
            reason = self._ending()
        except (ValueError, KeyError, TypeError) as error:
            reason = f"what came back is no answer: {error}"
        else:
            return answer, outputs
        self.end()
        words = self.said.strip().rpartition("\n")[2]
        raise Unavailable(f"the model's worker was ended: {reason}{f' ({words[:300]})' if words else ''}")

    def _ending(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "it does not listen any more"
        return f"it ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def _listen(self) -> None:
        stream = self._process.stderr
        with contextlib.suppress(ValueError, OSError):
            while stream and (words := os.read(stream.fileno(), 1000)):
                self._words.append(words)

    def _tidy(self) -> None:
        self._ours.close()
        for descriptor in (self._asked, self._answered):
            if descriptor >= 0:
                os.close(descriptor)
        self._work.cleanup()


def _command(runtime: PythonRuntime) -> list[str]:
    """Isolated (`-I`): neither variables nor the folder it runs in say what is imported. The platform's own interpreter
    sees what the platform sees."""
    return [runtime.python or sys.executable, "-I", isolated.__file__]


def _environment(folder: str) -> dict[str, str]:
    """Nothing of the platform's secrets, nor of its settings."""
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {
        **libraries, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder,
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip


def _memory(name: str) -> int:
    """A descriptor of memory that can be shared but not be made smaller, under the feet of who reads it; -1 where the
    system has none."""
    if not hasattr(os, "memfd_create"):
        return -1
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return descriptor


def _reader(stream: socket.socket, deadline: float) -> Callable[[int], bytes]:
    def read(size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            stream.settimeout(left_s)
            part = stream.recv(min(size - len(found), _LARGEST_PART))
            if not part:
                raise EOFError
            found += part
        return bytes(found)

    return read


def _checked(outputs: isolated.Tensors, name: str, datatype: Datatype, rows: int) -> NDArray[Any]:
    """The output of this name; raises `ValueError` when it is not as declared."""
    if name not in outputs:
        raise ValueError(f"the model gave no output {name!r}, but {sorted(outputs)[:10]}")
    output = outputs[name]
    wanted = np.dtype(object if datatype is Datatype.BYTES else DTYPES[datatype])
    if output.dtype != wanted or output.ndim < 1 or len(output) != rows:
        raise ValueError(
            f"output {name!r} is {output.dtype} {list(output.shape)}, but {datatype} for {rows} rows is declared"
        )
    return output
