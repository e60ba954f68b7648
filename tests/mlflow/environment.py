"""The environment of MLflow's client: built once, in `.venv-mlflow`, and again when its requirements change."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent


def client_environment() -> Path:
    """Its interpreter; skips the test that asks when the registry does not answer."""
    folder, requirements = ROOT / ".venv-mlflow", HERE / "requirements.txt"
    python, ready = folder / "bin" / "python", folder / "ready"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != requirements.read_text():
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
                if done.returncode:
                    pytest.skip(f"MLflow's client cannot be installed: {done.stderr.strip()[-300:]}")
            ready.write_text(requirements.read_text())
    return python
