"""An interpreter whose `mlflow` is a stand-in that loads `model.py` of a folder: real workers without a real MLflow."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from headway.kernel.records import encode
from headway.lifecycle.models.records import (
    Datatype,
    Feeding,
    Form,
    ModelFile,
    ModelFolder,
    PythonRuntime,
    Signature,
    TensorSpec,
)
from headway.lifecycle.rollouts.routing import Route
from tests.serving.processes import Blobs

STAND_IN = """
def load_model(path):
    found = {"__file__": path + "/model.py"}
    exec(open(path + "/model.py").read(), found)
    return found["Model"]()
"""
MODEL = """
import os, signal, socket, sys, time
import numpy as np

class Model:
    def predict(self, rows):
        asked = rows[0, 0]
        if asked == 7001:
            while True:
                pass
        if asked == 7002:
            os._exit(3)
        if asked == 7003:
            os.kill(os.getpid(), signal.SIGSEGV)
        if asked == 7004:
            bytearray(1 << 36)
        if asked == 7005:
            raise ValueError("not these rows")
        if asked == 7006:
            return np.ones(5)
        if asked == 7009:
            return None
        if asked == 7007:
            print("said " * 100_000)
        if asked == 7008:
            time.sleep(0.5)
        return rows[:, 0] * 2 + rows[:, 1]
"""
SIGNATURE = Signature(
    inputs=(TensorSpec(name="input", datatype=Datatype.FP64, shape=(-1, 2), features=("temp", "wind")),),
    outputs=(TensorSpec(name="prediction", datatype=Datatype.FP64, shape=(-1,)),),
    score="prediction",
)


def stand_in(folder: Path) -> str:
    """The path of an interpreter in a virtual environment of its own, made by hand because `venv` takes seconds."""
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "mlflow").mkdir(parents=True)
    (packages / "mlflow" / "__init__.py").touch()
    (packages / "mlflow" / "pyfunc.py").write_text(STAND_IN)
    (packages / "platform.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (folder / "bin").mkdir()
    real = Path(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {real.parent}\ninclude-system-site-packages = false\n")
    (folder / "bin" / "python").symlink_to(real)
    return str(folder / "bin" / "python")


def kept(blobs: Blobs, model: str = MODEL) -> str:
    """The digest of a folder with this `model.py` in it."""
    file = ModelFile(name="model.py", blob=blobs.put(model.encode()), size=len(model))
    return blobs.put(encode(ModelFolder(files=(file,))))


def folder_of(model: str, folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(model)
    return folder


def route(blob: str, python: str, **changes: Any) -> Route:
    runtime = PythonRuntime(python=python, time_limit_s=1.0, memory_mb=2048)
    whole = Route(
        release="rl_w", model="late", version=2, blob=blob, signature=SIGNATURE, percent=100, form=Form.MLFLOW,
        feeding=Feeding.ARRAY, python=runtime, trust="tu_1",
    )  # fmt: skip
    return whole.but(**changes)


def rows(*pairs: tuple[float, float]) -> dict[str, Any]:
    data = [value for pair in pairs for value in pair]
    return {"inputs": [{"name": "input", "shape": [len(pairs), 2], "datatype": "FP64", "data": data}]}
