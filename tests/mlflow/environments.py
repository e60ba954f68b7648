"""Environments of their own for MLflow, each built once in the project's folder."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def python_of(name: str, requirements: str) -> Path:
    """An interpreter that has what a file of requirements asks for: built again when the file changes."""
    folder, wanted = ROOT / name, HERE / requirements
    python, ready = folder / "bin" / "python", folder / "ready"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != wanted.read_text():
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(wanted)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
                if done.returncode:
                    pytest.skip(f"MLflow cannot be installed: {done.stderr.strip()[-300:]}")
            ready.write_text(wanted.read_text())
    return python
