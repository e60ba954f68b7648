"""What a worker runs beside scikit-learn and MLflow: LightGBM, XGBoost, torch.export, and any function of Python.

As `isolated.py`, which loads this file beside it, it needs the standard library and numpy alone; each kind imports its
library when it is asked for one.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

Tensors = dict[str, "np.ndarray[Any, Any]"]
DTYPES = {"BOOL": "?", "INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"}
_MADE_UP = "Column_"


def side_by_side(feed: Tensors, signature: Any, dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    """The inputs in the signature's order as one array [rows, width]."""
    arrays = [feed[each["name"]] for each in signature["inputs"]]
    wide = [array.reshape(len(array), -1).astype(dtype) for array in arrays]
    return np.ascontiguousarray(np.concatenate(wide, axis=1) if len(wide) > 1 else wide[0])


def classified(scores: np.ndarray[Any, Any], classes: list[Any]) -> Tensors:
    """Probabilities [rows] of the second of two classes, or [rows, classes], with the label of each row."""
    if scores.ndim == 1:
        scores = np.stack([1 - scores, scores], axis=1)
    places = scores.argmax(axis=1)
    if not classes:
        return {"label": places.astype(np.int64), "probabilities": scores}
    texts = isinstance(classes[0], str)
    labels = np.array(classes, dtype=object if texts else np.int64)[places]
    return {"label": labels, "probabilities": scores}


class LightGbm:
    """A booster in LightGBM's own text, which is read by its parser and holds no code."""

    def __init__(self, path: str, allowed: list[str], signature: Any) -> None:
        import lightgbm  # noqa: PLC0415

        self._booster = lightgbm.Booster(model_file=path)
        self._signature = signature
        told = self._booster.dump_model(num_iteration=1)
        self._objective, self._count = str(told.get("objective", "")).split(" ")[0], int(told["num_class"])
        self._names = [str(name) for name in told["feature_names"]]

    def about(self) -> Any:
        named = not all(name == f"{_MADE_UP}{at}" for at, name in enumerate(self._names))
        return {
            "features": self._names if named else [], "width": len(self._names),
            "classes": 2 if self._objective in ("binary", "cross_entropy", "xentropy") else
            self._count if self._count > 1 else 0,
        }  # fmt: skip

    def run(self, feed: Tensors) -> Tensors:
        scores = np.asarray(self._booster.predict(side_by_side(feed, self._signature), num_threads=1))
        if len(self._signature["outputs"]) > 1:
            return classified(scores, self._signature["classes"])
        return {"variable": scores.astype(np.float64).reshape(len(scores), -1)}


class XgBoost:
    """A booster in XGBoost's own JSON or UBJSON, which is read by its parser and holds no code."""

    def __init__(self, path: str, allowed: list[str], signature: Any) -> None:
        import xgboost  # noqa: PLC0415

        self._booster = xgboost.Booster({"nthread": 1})
        # From memory, where the bytes tell JSON from UBJSON; of a file it is the name that does.
        self._booster.load_model(bytearray(Path(path).read_bytes()))
        self._signature = signature
        told = json.loads(self._booster.save_config())["learner"]
        self._objective = str(told["objective"]["name"])
        self._count = int(told["learner_model_param"]["num_class"])

    def about(self) -> Any:
        if self._objective == "multi:softmax":
            raise ValueError("multi:softmax gives no probabilities; train it with multi:softprob")
        names = [str(name) for name in self._booster.feature_names or ()]
        return {
            "features": names, "width": int(self._booster.num_features()),
            "classes": self._count if self._objective.startswith("multi:") else
            2 if self._objective in ("binary:logistic", "reg:logistic") else 0,
        }  # fmt: skip

    def run(self, feed: Tensors) -> Tensors:
        rows = side_by_side(feed, self._signature, np.float32)
        scores = np.asarray(self._booster.inplace_predict(rows, validate_features=False), dtype=np.float64)
        if len(self._signature["outputs"]) > 1:
            return classified(scores, self._signature["classes"])
        return {"variable": scores.reshape(len(scores), -1)}


class Torch:
    """A program that `torch.export` has saved. Loading one unpickles parts of it and evaluates expressions: whoever
    wrote the file runs what he likes, so an operator has to trust it first."""

    def __init__(self, path: str, allowed: list[str], signature: Any) -> None:
        import torch  # noqa: PLC0415

        torch.set_num_threads(1)
        self._torch, self._signature = torch, signature
        self._module = torch.export.load(path).module()
        self._dtype = np.dtype(DTYPES[signature["tensor"]])

    def about(self) -> Any:
        return {}

    def run(self, feed: Tensors) -> Tensors:
        rows = self._torch.from_numpy(side_by_side(feed, self._signature, self._dtype))
        with self._torch.no_grad():
            answer = self._module(rows)
        answers = list(answer) if isinstance(answer, (tuple, list)) else [answer]
        outputs = zip([each["name"] for each in self._signature["outputs"]], answers)  # noqa: B905 (Python 3.9)
        return {name: each.numpy() for name, each in outputs}


class Function:
    """`predict` in `model.py` of a folder: from arrays by input to arrays by output, or to the only one."""

    def __init__(self, path: str, allowed: list[str], signature: Any) -> None:
        file = Path(path) / "model.py"
        sys.path.insert(0, path)
        spec = importlib.util.spec_from_file_location("model", file)
        if spec is None or spec.loader is None:
            raise ValueError("there is no model.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["model"] = module
        spec.loader.exec_module(module)
        if not callable(getattr(module, "predict", None)):
            raise ValueError("model.py has no function `predict`")
        self._predict, self._outputs = module.predict, signature["outputs"]

    def about(self) -> Any:
        return {}

    def run(self, feed: Tensors) -> Tensors:
        answer = self._predict(feed)
        if not isinstance(answer, dict):
            answer = {self._outputs[0]["name"]: answer}
        missing = [output["name"] for output in self._outputs if output["name"] not in answer]
        if missing:
            raise ValueError(f"`predict` gave no {', '.join(missing)}, but {', '.join(map(str, answer))[:200]}")
        return {output["name"]: _as_declared(np.asarray(answer[output["name"]]), output) for output in self._outputs}


def _as_declared(answer: np.ndarray[Any, Any], output: Any) -> np.ndarray[Any, Any]:
    shape = [len(answer), *(-1 if size < 0 else size for size in output["shape"][1:])]
    if output["datatype"] == "BYTES":
        return answer.astype(object).reshape(shape)
    return answer.astype(np.dtype(DTYPES[output["datatype"]]), casting="same_kind").reshape(shape)


KINDS: dict[str, Any] = {"lightgbm": LightGbm, "xgboost": XgBoost, "torch": Torch, "python": Function}
