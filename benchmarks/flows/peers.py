"""Other tools, each in an environment of its own outside the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

APPS = Path(__file__).parent / "apps"


class Peer(NamedTuple):
    """`steps` is how long its chains are, `again` whether it skips what is fresh."""

    requirements: tuple[str, ...]
    steps: tuple[int, ...] = (1, 100)
    again: bool = True


PEERS = {
    "hamilton": Peer(("sf-hamilton==1.90.0",)),
    "kedro": Peer(("kedro==1.7.0",), (1, 100, 1000)),
    "dvc": Peer(("dvc==3.67.1",)),
    "prefect": Peer(("prefect==3.9.1",)),
    "metaflow": Peer(("metaflow==2.19.39",), (2, 100), again=False),
    "dagster": Peer(("dagster==1.13.28",), again=False),
    "zenml": Peer(("zenml[local]==0.98.0",)),
}


def python_of(name: str, cache: Path) -> Path:
    """The interpreter of the environment, which is made if need be; raises `CalledProcessError` when it cannot be."""
    folder, wanted = cache / f"flows-{name}", "\n".join(PEERS[name].requirements)
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists() or ready.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name].requirements]
        subprocess.run(install, check=True, timeout=1200)
        ready.write_text(wanted)
    return python
