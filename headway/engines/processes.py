"""Child processes that can be found again: by pid and by a mark in their command line, so that no other is ever hit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from headway.kernel.records import Value, encode


class Child(Value):
    """What is kept on disk of a process; `mark` is an argument that only it was started with."""

    pid: int
    mark: str
    port: int = 0
    workers: int = 1
    """Processes that it was told to be the parent of."""
    build: str = ""
    """What it was started as; empty for one that was started before anybody asked."""


def start(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> int:
    """Start `command` in a session of its own, with its output appended to `log`; returns the pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env) if env else None, cwd=cwd,
            start_new_session=True,
        )  # fmt: skip
    _started[process.pid] = process
    return process.pid


_started: dict[int, subprocess.Popen[bytes]] = {}


def alive(child: Child) -> bool:
    """Whether `child` runs, and is the process that it was. What one that has ended had started is ended too."""
    if child.mark in _command_line(child.pid):
        return True
    process = _started.pop(child.pid, None)
    if process is not None:
        process.wait()  # one that is ending has no command line any more
        # At once, while no other process can have got the number of its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    return False


def end(child: Child, *, patience_s: float = 5.0) -> None:
    """Stop `child` and all it started: politely, then for good after `patience_s`."""
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 2.0)):
        if not alive(child):
            return
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + wait_s
        while alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)


def _command_line(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
        found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return found.stdout
    except ProcessLookupError:
        return ""
    return text


def remember(child: Child, file: Path) -> None:
    """Write down `child`, replacing what stood there in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, encode(child))


def recall(file: Path) -> Child | None:
    """Who was written down, or None for nobody or an unreadable note."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Child)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def write_whole(file: Path, data: bytes) -> None:
    """Replace `file` by `data` in one step that survives a crash."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with fresh.open("wb") as output:
        output.write(data)
        output.flush()
        os.fsync(output.fileno())
    fresh.replace(file)
