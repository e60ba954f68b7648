"""Environments with MLflow in them, beside the checkout."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def interpreter(name: str, requirements: Path) -> Path:
    """The interpreter of the environment `name`: built once, and again when its requirements change."""
    folder = ROOT / name
    python, ready = folder / "bin" / "python", folder / "ready"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != requirements.read_text():
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
                if done.returncode:
                    pytest.skip(f"{name} cannot be built: {done.stderr.strip()[-300:]}")
            ready.write_text(requirements.read_text())
    return python
