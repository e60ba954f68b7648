"""Logs and registers models in every flavour, with MLflow's client in its own environment.

`flavours.py URL EVIL_FILE`; prints, as JSON, what MLflow itself predicts with each.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import cloudpickle  # noqa: E402
import mlflow  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from skl2onnx import to_onnx  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: E402
from sklearn.gaussian_process import GaussianProcessClassifier  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402


class Doubling(mlflow.pyfunc.PythonModel):
    """Any Python: a chance from two columns; some rows make it hang, end or eat memory."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        first = float(model_input["wind"].iloc[0])
        if first == 7001:
            while True:
                pass
        if first == 7002:
            os._exit(3)
        if first == 7003:
            return bytearray(1 << 36)
        return (1 / (1 + np.exp(-(model_input["temp"] - 0.5 * model_input["wind"])))).rename("chance")


class Evil:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self._path),))


def main(url: str, evil_file: str) -> None:
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("flavours")
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"temp": random.normal(size=300), "wind": random.normal(size=300)})
    late = (rows["temp"] - 0.5 * rows["wind"] + random.normal(0, 0.5, 300) > 0).astype(int)
    asked = rows.head(20)
    linear = LogisticRegression().fit(rows, late)
    process = GaussianProcessClassifier().fit(rows.head(60), late.head(60))
    trees = HistGradientBoostingClassifier(max_iter=20).fit(rows, late)
    single = rows.astype(np.float32)
    graph = to_onnx(LogisticRegression().fit(single.to_numpy(), late), single.to_numpy()[:1], options={"zipmap": False})
    python = Doubling()
    taken, signed = rows.head(3), infer_signature(rows, linear.predict(rows))
    chances = infer_signature(rows, python.predict(None, rows))
    said: dict[str, Any] = {}

    def ask(name: str, of: Any = asked) -> None:
        found = mlflow.pyfunc.load_model(f"models:/{name}/1").predict(of)
        if isinstance(found, dict):
            found = found["label"]
        said[name] = np.asarray(found).reshape(-1).tolist()

    with mlflow.start_run():
        for name, estimator in (("linear", linear), ("process", process)):
            mlflow.sklearn.log_model(
                estimator, name=name, signature=signed, input_example=taken, registered_model_name=name,
                serialization_format="skops", skops_trusted_types=_types(estimator),
            )  # fmt: skip
            ask(name)
        mlflow.sklearn.log_model(
            trees, name="trees", signature=signed, registered_model_name="trees", serialization_format="cloudpickle",
            pyfunc_predict_fn="predict",
        )  # fmt: skip
        ask("trees")
        mlflow.onnx.log_model(
            onnx.load_from_string(graph.SerializeToString()), name="graph", registered_model_name="graph",
            signature=infer_signature(single.to_numpy(), linear.predict(rows)),
        )  # fmt: skip
        ask("graph", single.head(20).to_numpy())
        mlflow.pyfunc.log_model(
            name="python", python_model=python, signature=chances, input_example=taken, registered_model_name="python"
        )
        ask("python")
        log_evil(python, chances, evil_file)
    print(json.dumps({"asked": asked.to_dict("list"), "said": said}))


def log_evil(python: Doubling, signature: Any, file: str) -> None:
    """A model whose pickle makes a file when it is loaded; MLflow's own client would load it on `log_model`."""
    evil = Path("evil")
    mlflow.pyfunc.save_model(evil, python_model=python, signature=signature)
    (evil / "python_model.pkl").write_bytes(cloudpickle.dumps(Evil(file)))
    mlflow.log_artifacts(str(evil), "evil")
    mlflow.register_model(f"runs:/{mlflow.active_run().info.run_id}/evil", "evil")


def _types(estimator: Any) -> list[str]:
    import skops.io  # noqa: PLC0415

    return skops.io.get_untrusted_types(data=skops.io.dumps(estimator))


if __name__ == "__main__":
    main(*sys.argv[1:])
