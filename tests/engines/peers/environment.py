"""A virtual environment with what Headway does without, built once from the registry and kept; this one's packages and
the checkout are seen in it too."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).parent
CHECKOUT = SCRIPTS.parents[2]
REQUIREMENTS = ("pandas>=2.2", "pyarrow>=20", "ipykernel>=7", "nbclient>=0.10")
_KEPT = Path(tempfile.gettempdir()) / f"headway-test-environments-{os.getuid()}"


def run(script: str, *arguments: str, timeout_s: float = 300) -> str:
    """What the script prints. Warnings are errors only here, since those libraries have their own."""
    places = [str(CHECKOUT), sysconfig.get_paths()["purelib"]]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [str(_python()), str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=variables, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def _python() -> Path:
    """Whole or not at all, since others may build the same at this moment."""
    key = hashlib.sha256(f"{sys.version_info[:2]} {REQUIREMENTS}".encode()).hexdigest()[:16]
    folder = _KEPT / key
    if not folder.is_dir():
        _KEPT.mkdir(mode=0o700, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=_KEPT))
        python = str(unfinished / "bin" / "python")
        install = ["-m", "pip", "--python", python, "install", "--quiet", *REQUIREMENTS]
        for arguments in (["-m", "venv", "--without-pip", str(unfinished)], install):
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, timeout=900)
        if not folder.is_dir():
            unfinished.rename(folder)
    return folder / "bin" / "python"
