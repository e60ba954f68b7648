"""The other servers: what each needs, in an environment of its own outside the checkout, and how it starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from servers.served import free_port
from servers.workload import Workload, in_json, in_mlflow

APPS = Path(__file__).parent / "apps"
RUNTIME = "onnxruntime==1.32.0"
MLSERVER = ("mlserver==1.7.1", "uvloop==0.21.0", RUNTIME, "scikit-learn==1.9.1", "joblib")
"""With uvloop 0.22 and later MLServer's workers crash: SeldonIO/MLServer#2286."""


class Peer(NamedTuple):
    environment: str
    requirements: tuple[str, ...]
    command: Callable[[Path, Path, Path, int], list[str]]
    """From the environment's python, the model's file, a folder of its own and the port."""
    asked: Callable[[Workload], bytes] = in_json


def environment(cache: Path, peer: Peer) -> Path:
    """The python of the peer's environment, made if what it needs is not there; raises `CalledProcessError`."""
    folder, wanted = cache / peer.environment, "\n".join(peer.requirements)
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists() or ready.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
        subprocess.run(install, check=True)
        ready.write_text(wanted)
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


def _triton(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    """The server and its Python backend from PyTriton's wheel, without PyTriton: one instance, no batching."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = python.parents[1] / "lib" / f"python{minor}" / "site-packages"
    server, backend, files = packages / "pytriton" / "tritonserver", folder / "backends" / "python", folder / "models"
    stub = server / "python_backend_stubs" / minor / "triton_python_backend_stub"
    if not stub.exists():
        raise RuntimeError(f"PyTriton's wheel has no Python backend for Python {minor}")
    shutil.copytree(server / "backends" / "python", backend)
    shutil.copy(stub, backend)
    (files / "flights" / "1").mkdir(parents=True)
    shutil.copy(APPS / "triton_model.py", files / "flights" / "1" / "model.py")
    shutil.copy(APPS / "triton_config.pbtxt", files / "flights" / "config.pbtxt")
    (files / "flights" / "1" / "model.onnx").symlink_to(model)
    libraries = f"{packages / 'nvidia_pytriton.libs'}:{sysconfig.get_config_var('LIBDIR')}"
    variables = {"LD_LIBRARY_PATH": libraries, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    return _with(
        variables, str(server / "bin" / "tritonserver"), f"--model-repository={files}", "--http-address=127.0.0.1",
        f"--backend-directory={folder / 'backends'}", f"--http-port={port}", "--allow-grpc=false",
        "--allow-metrics=false",
    )  # fmt: skip


def _mlflow(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    variables = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "UVICORN_ACCESS_LOG": "false"}
    variables["PATH"] = f"{python.parent}:{os.environ['PATH']}"
    return _with(variables, str(python), str(APPS / "mlflow_model.py"), str(model), str(port))


def _bentoml(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    variables = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder), "BENCHMARK_MODEL": str(model)}
    command = [str(python), "-m", "bentoml", "serve", "bentoml_service:Flights", "--working-dir", str(APPS)]
    return _with(variables, *command, "--host", "127.0.0.1", "--port", str(port))


def _ray_serve(python: Path, model: Path, folder: Path, port: int) -> list[str]:
    """What the least of Ray is: its processes, a controller, a proxy and one replica."""
    command = [str(python), str(APPS / "ray_serve_app.py"), str(model), str(port)]
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what keeps a node's own ports there is named so
    return _with({"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"} | loopback, *command)


def _with(variables: Mapping[str, str], *command: str) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in variables.items()), *command]


FASTAPI = ("fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools", RUNTIME, "numpy")
PEERS = {
    "bentoml": Peer("bentoml", ("bentoml==1.4.40", RUNTIME, "numpy"), _bentoml),
    "fastapi": Peer("fastapi", FASTAPI, _fastapi),
    "litserve": Peer("litserve", ("litserve==0.2.19", RUNTIME, "numpy"), _litserve),
    "mlflow": Peer("mlflow", ("mlflow==3.17.2", "onnx==1.23.2", RUNTIME), _mlflow, in_mlflow),
    "mlserver-onnx": Peer("mlserver", MLSERVER, _mlserver_onnx),
    "mlserver-sklearn": Peer("mlserver", MLSERVER, _mlserver_sklearn),
    "ray-serve": Peer("ray-serve", ("ray[serve]==2.60.0", RUNTIME, "numpy"), _ray_serve),
    "triton": Peer("triton", ("nvidia-pytriton==0.7.0", RUNTIME), _triton),
}
