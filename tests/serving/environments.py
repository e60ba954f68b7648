"""Virtual environments of other people's clients, built once from the registry and kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "clients"
CHECKOUT = SCRIPTS.parents[2]
_KEPT = Path(tempfile.gettempdir()) / f"headway-test-environments-{os.getuid()}"


class Environment:
    """A virtual environment with `requirements` in it; its folder's name tells them apart."""

    def __init__(self, *requirements: str) -> None:
        key = hashlib.sha256(f"{sys.version_info[:2]} {' '.join(requirements)}".encode()).hexdigest()[:16]
        self._folder = _KEPT / key
        if not self._folder.is_dir():
            self._build(requirements)

    @property
    def python(self) -> str:
        return str(self._folder / "bin" / "python")

    def run(self, script: str, *arguments: str, timeout_s: float = 120, beside: bool = False) -> Any:
        """What the script prints, as JSON. `beside` says that it sees the checkout, and the packages of this one."""
        command = [str(self._folder / "bin" / "python"), str(SCRIPTS / script), *arguments]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *_packages()])} if beside else None
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=self._folder, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def command(self, name: str) -> Path:
        """A program that came with the requirement."""
        return self._folder / "bin" / name

    def _build(self, requirements: Sequence[str]) -> None:
        """Whole or not at all, since others may build the same at this moment."""
        _KEPT.mkdir(mode=0o700, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=_KEPT))
        install = ["-m", "pip", "--python", str(unfinished / "bin" / "python"), "install", "--quiet", *requirements]
        for arguments in (["-m", "venv", "--without-pip", str(unfinished)], install):
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, timeout=900)
        if not self._folder.is_dir():
            unfinished.rename(self._folder)


def _packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]
