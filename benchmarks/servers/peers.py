"""The other servers: what each needs, in an environment of its own outside the checkout, and how it starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from servers.served import free_port

APPS = Path(__file__).parent / "apps"
MLSERVER = ("mlserver==1.7.1", "uvloop<0.22", "onnxruntime", "scikit-learn", "joblib")
"""With uvloop 0.22 and later MLServer's workers crash: SeldonIO/MLServer#2286."""


class Peer(NamedTuple):
    environment: str
    requirements: tuple[str, ...]
    command: Callable[[Path, Path, Path, int], list[str]]
    """From the environment's python, the model's file, a folder of its own and the port."""


def environment(cache: Path, peer: Peer) -> Path:
    """The python of the peer's environment, made if it is not there; raises `CalledProcessError`."""
    folder = cache / peer.environment
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
        subprocess.run(install, check=True)
        ready.touch()
    return python


def _fastapi(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    return [str(python), str(APPS / "fastapi_app.py"), str(model), str(port)]


def _litserve(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    """One process for HTTP and one for the model, which is the least it runs with."""
    return [str(python), str(APPS / "litserve_app.py"), str(model), str(port)]


def _mlserver_onnx(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    return _mlserver(python, folder, port, "mlserver_models.OnnxModel", model)


def _mlserver_sklearn(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    return _mlserver(python, folder, port, "mlserver_models.SklearnModel", model)


def _mlserver(python: Path, folder: Path, port: int, implementation: str, model: Path) -> list[str]:
    """One process, as its documentation advises for small models; metrics and access log off."""
    settings = {
        "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": port,
        "grpc_port": free_port(), "metrics_endpoint": None, "metrics_port": free_port(),
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    described = {"name": "flights", "implementation": implementation, "parameters": {"uri": str(model)}}
    (folder / "model-settings.json").write_text(json.dumps(described))
    shutil.copy(APPS / "mlserver_models.py", folder)
    return [str(python.with_name("mlserver")), "start", str(folder)]


PEERS = {
    "fastapi": Peer("fastapi", ("fastapi", "uvicorn", "uvloop", "httptools", "onnxruntime", "numpy"), _fastapi),
    "litserve": Peer("litserve", ("litserve", "onnxruntime", "numpy"), _litserve),
    "mlserver-onnx": Peer("mlserver", MLSERVER, _mlserver_onnx),
    "mlserver-sklearn": Peer("mlserver", MLSERVER, _mlserver_sklearn),
}
