"""Locked environments of workers: each made once on the machine that runs it, and found again by what is in it.

Nothing is made by itself: an operator says `headway model prepare`. Only wheels are taken, whose installing runs no
code of theirs, and nothing but what the lock pins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from headway.errors import Invalid, Unavailable
from headway.kernel.records import digest
from headway.lifecycle.models.locks import checked_lock
from headway.lifecycle.models.records import PythonRuntime

FOLDER = "environments"
"""Of a home."""
_BUILDING_S = 1800.0
_SAYS_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


class Origin(NamedTuple):
    """Where packages come from: a folder of wheels, and nothing else, or an index; pip's own settings if neither."""

    wheels: Path | None = None
    index_url: str = ""

    def options(self) -> list[str]:
        if self.wheels is not None:
            return ["--no-index", "--find-links", str(self.wheels.resolve())]
        return ["--index-url", self.index_url] if self.index_url else []


class Prepared(NamedTuple):
    """`made` says whether it was there before."""

    python: Path
    made: bool


def prepared(folder: Path, lock: str) -> Path | None:
    """The interpreter of the environment of this lock below `folder`, if there is one."""
    found = sorted(folder.glob(f"{_key(lock)}-*/bin/python"))
    return found[-1] if found else None


def locked(runtime: PythonRuntime, lock: str | None, folder: Path | None, label: str) -> PythonRuntime:
    """`runtime` with the interpreter of the environment of `lock`, if there is one to have.

    Raises `Unavailable` when it has not been prepared.
    """
    if not lock:
        return runtime
    python = prepared(folder, lock) if folder else None
    if python is None:
        raise Unavailable(
            f"the environment of {label} is not on this machine; `headway model prepare {label}` makes it"
        )
    return runtime.but(python=str(python))


def prepare(folder: Path, lock: str, text: str, origin: Origin, python: str = "") -> Prepared:
    """Make the environment of `lock`, whose content is `text`, below `folder`, with the interpreter `python`, unless it
    is there. It is whole, or not there.

    Raises `Invalid` when the packages cannot be had as wheels or do not go together, `Unavailable` when it cannot be
    made at all.
    """
    if digest(text.encode()) != lock or checked_lock(text) != text:
        raise Invalid("this is not the text of the lock")
    python = python or os.path.realpath(sys.executable)
    version = _run([python, "-I", "-c", _SAYS_VERSION], 60.0).strip()
    target = folder / f"{_key(lock)}-{version}"
    if (target / "bin" / "python").exists():
        return Prepared(target / "bin" / "python", made=False)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unfinished-", ignore_cleanup_errors=True) as temporary:
        unfinished = Path(temporary) / "environment"
        _run([python, "-I", "-m", "venv", "--without-pip", str(unfinished)], _BUILDING_S)
        _install(unfinished, text, origin)
        try:
            unfinished.rename(target)
        except OSError:  # another one was faster
            if not (target / "bin" / "python").exists():
                shutil.rmtree(target, ignore_errors=True)
                raise Unavailable(f"{target} cannot be made") from None
    return Prepared(target / "bin" / "python", made=True)


def _install(environment: Path, text: str, origin: Origin) -> None:
    inside = str(environment / "bin" / "python")
    pins = environment / "lock.txt"
    pins.write_text(text)
    hashed = ["--require-hashes"] if "--hash=" in text else []
    pip = [sys.executable, "-I", "-m", "pip", "--python", inside, "--disable-pip-version-check", "--no-input"]
    _run(
        [
            *pip,
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            *origin.options(),
            *hashed,
            "-r",
            str(pins),
        ],
        _BUILDING_S,
    )
    _run([*pip, "check"], _BUILDING_S)
    _run([inside, "-I", "-c", "import numpy"], 60.0)


def _run(command: list[str], limit_s: float) -> str:
    """What it prints; raises `Invalid` with its last words when it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the environment cannot be made: {error}") from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise Invalid(f"the environment cannot be made: {' '.join(words)[:800]}")
    return done.stdout


def _key(lock: str) -> str:
    return lock.removeprefix("b3:")[:32]
