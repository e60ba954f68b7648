"""Other tools, each in an environment of its own outside the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

APPS = Path(__file__).parent / "apps"


class Peer(NamedTuple):
    """`steps` is how many a chain of it has where 100 would take minutes; `again` whether it skips what is fresh."""

    requirements: tuple[str, ...]
    steps: tuple[int, ...] = (1, 100)
    again: bool = True


PEERS = {
    "hamilton": Peer(("sf-hamilton",)),
    "kedro": Peer(("kedro",), (1, 100, 1000)),
    "dvc": Peer(("dvc",), (1, 100)),
    "prefect": Peer(("prefect", "fastapi<0.120"), (1, 100)),
    "metaflow": Peer(("metaflow",), (1, 20), again=False),
    "dagster": Peer(("dagster",), (1, 100), again=False),
    "zenml": Peer(("zenml[local]",), (1, 20)),
}


def python_of(name: str, cache: Path) -> Path:
    """The interpreter of the environment, which is made if need be; raises `CalledProcessError` when it cannot be."""
    folder = cache / f"flows-{name}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name].requirements]
        subprocess.run(install, check=True, timeout=1200)
        (folder / "ready").touch()
    return python
