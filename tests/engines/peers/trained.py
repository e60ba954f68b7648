"""What trained models of other libraries are between steps, for real: `trained.py FOLDER LIBRARY`.

Each is trained anew in every run, handed over, and asked by a step that has to be found again: equal models give equal
bytes.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import headway as hw
from headway.client.blob_files import BlobFiles
from headway.engines.pipelines.executor import LocalExecutor
from headway.engines.pipelines.outputs import Stored, pack
from headway.errors import BadPipeline
from headway.kernel.blobs import blob_place
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.pipeline import Pipeline
from headway.storage.blobs import open_blobs
from headway.testing.session import MemorySession

FOLDER, LIBRARY = Path(sys.argv[1]), sys.argv[2]
BLOBS = open_blobs(FOLDER)
ROWS = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
TRUTH = (ROWS[:, 0] > 0).astype(float)


def lightgbm() -> Any:
    lib: Any = import_module("lightgbm")
    told = {"objective": "binary", "verbose": -1, "num_threads": 1}
    rows, later = lib.Dataset(ROWS[:200], TRUTH[:200]), lib.Dataset(ROWS[200:], TRUTH[200:])
    return lib.train(told, rows, 60, valid_sets=[later], callbacks=[lib.early_stopping(2, verbose=False)])


def xgboost() -> Any:
    lib: Any = import_module("xgboost")
    rows = lib.DMatrix(ROWS, TRUTH, feature_names=["a", "b", "c"])
    return lib.train({"objective": "binary:logistic", "nthread": 1}, rows, 9)


def catboost() -> Any:
    lib: Any = import_module("catboost")
    model = lib.CatBoostClassifier(n_estimators=9, thread_count=1, verbose=0, allow_writing_files=False)
    return model.fit(ROWS, TRUTH.astype(int))


def net() -> Any:
    """Of two layers that share their weights, with a state beside them."""
    nn: Any = import_module("torch.nn")
    import_module("torch").manual_seed(3)
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)).eval()
    made[2].weight = made[0].weight
    return made


def torch() -> Any:
    return net().state_dict()


def answers(model: Any) -> list[float]:
    if LIBRARY == "torch":
        made = net()
        made.load_state_dict(model)
        found = made(import_module("torch").from_numpy(ROWS)).detach().numpy()[:, 0]
    elif LIBRARY == "xgboost":
        found = model.inplace_predict(ROWS, validate_features=False)
    elif LIBRARY == "catboost":
        found = model.predict_proba(ROWS)[:, 1]
    else:
        found = model.predict(ROWS)
    return [float(each) for each in found]


TRAINERS: dict[str, Callable[[], Any]] = {
    "lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost, "torch": torch,
}  # fmt: skip


@hw.step(cache=False)
def train() -> Any:
    return TRAINERS[LIBRARY]()


@hw.step
def ask(model: Any) -> list[float]:
    return answers(model)


@hw.pipeline
def trained() -> list[float]:
    return ask(train())


def run(session: MemorySession, of: Pipeline) -> tuple[Any, dict[str, str]]:
    steps: dict[str, str] = {}
    executor = LocalExecutor(
        session, SystemClock(), Path(__file__).parent, report=lambda step: steps.update({step.step: step.state})
    )
    return executor.run(of, {}).value, steps


def refused(value: Any) -> str:
    try:
        pack(value, BLOBS.put)
    except BadPipeline as error:
        return str(error)
    raise AssertionError("it was kept")


def tensors() -> dict[str, Any]:
    """Tensors of all sorts come back as they were, and large ones are mapped from their file."""
    lib: Any = import_module("torch")
    kinds = [lib.randn(3, 4).T, lib.randn(3).to(lib.bfloat16), lib.tensor(3), lib.zeros(0, 2), lib.tensor([True])]
    kinds += [lib.randn(2, dtype=lib.complex64), lib.tensor([1], dtype=lib.uint16)]
    value = {"all": kinds, "state": OrderedDict(b=kinds[0], a=kinds[1])}
    outputs = pack(value, BLOBS.put)
    found = Stored(outputs, BLOBS.get).load()
    same = [lib.equal(a, b) and a.dtype == b.dtype for a, b in zip(found["all"], kinds, strict=True)]
    large = lib.arange(2**19, dtype=lib.float32)
    stored = Stored(pack(large, BLOBS.put), BLOBS.get, file=BlobFiles(FOLDER).path)
    mapped = stored.load()
    lies = str(FOLDER / blob_place(stored.outputs[0].blob))
    maps = Path("/proc/self/maps")
    is_mapped = not maps.exists() or lies in maps.read_text()
    mapped[0] = -1
    return {
        "same": all(same), "names": list(found["state"]), "again": pack(found, BLOBS.put) == outputs,
        "formats": sorted({output.format for output in outputs}), "mapped": is_mapped,
        "kept": float(stored.load()[0]), "net": refused(net()),
        "grows": refused({"w": lib.ones(1, requires_grad=True)}), "sparse": refused(lib.eye(3).to_sparse()),
    }  # fmt: skip


def main() -> dict[str, Any]:
    model, session = TRAINERS[LIBRARY](), MemorySession()
    first, steps = run(session, trained)
    again, cached = run(session, trained)
    outputs = pack(model, BLOBS.put)
    told = {
        "format": [output.format for output in outputs], "first": steps, "again": cached,
        "same": first == again == answers(model), "kind": type(Stored(outputs, BLOBS.get).load()).__name__,
    }  # fmt: skip
    if LIBRARY in ("lightgbm", "xgboost"):
        lib: Any = import_module(LIBRARY)
        cls = lib.LGBMClassifier if LIBRARY == "lightgbm" else lib.XGBClassifier
        told["estimator"] = refused(cls(n_estimators=2, n_jobs=1).fit(ROWS, TRUTH.astype(int)))
    return told | ({"tensors": tensors()} if LIBRARY == "torch" else {})


print(json.dumps(main()))
