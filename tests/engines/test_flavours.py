"""What an MLmodel file says, and what becomes of its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression

from headway.engines.models.adoption import adopt, adopt_folder
from headway.engines.models.flavours import read_mlmodel
from headway.errors import Invalid
from headway.kernel.records import digest
from headway.lifecycle.models.folders import read_folder
from headway.lifecycle.models.records import Datatype, Feeding, Form, ModelFile, TensorSpec

COLUMNS = [{"type": "double", "name": "temp", "required": True}, {"type": "double", "name": "wind", "required": True}]
ARRAY = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
LABEL = [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]
PYFUNC = {"python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"}}


def mlmodel(inputs: Any = COLUMNS, outputs: Any = LABEL, **flavours: Any) -> bytes:
    signature = {"inputs": inputs and json.dumps(inputs), "outputs": outputs and json.dumps(outputs), "params": None}
    return yaml.safe_dump({"flavors": PYFUNC | flavours, "signature": signature}).encode()


def files(**named: bytes) -> tuple[list[ModelFile], dict[str, bytes]]:
    made = [ModelFile(name=name, blob=digest(data), size=len(data)) for name, data in sorted(named.items())]
    return made, {digest(data): data for data in named.values()}


def spec(name: str, datatype: Datatype = Datatype.FP64, shape: tuple[int, ...] = (-1, 1)) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def test_columns_and_arrays() -> None:
    found = read_mlmodel(mlmodel())
    assert (found.inputs, found.feeding) == ((spec("temp"), spec("wind")), Feeding.FRAME)
    assert found.signature(None).score == "prediction"
    assert found.outputs == (spec("prediction", Datatype.INT64, (-1,)),)
    assert read_mlmodel(mlmodel(ARRAY)).inputs == (spec("input", shape=(-1, 2)),)
    assert read_mlmodel(mlmodel(ARRAY)).feeding is Feeding.ARRAY
    assert read_mlmodel(mlmodel([{**ARRAY[0], "name": "x"}])).feeding is Feeding.ARRAYS


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[", "cannot be read"),
        (b"!!python/object/apply:os.system ['true']", "cannot be read"),
        (b"flavors: 3", "no flavors"),
        (b"x" * 2**21, "at most"),
        (b"\xff\xfe\x00", "cannot be read|no flavors"),
        (mlmodel([{"type": "datetime", "name": "at"}]), "datetime"),
        (mlmodel([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2, 3]}}]), "rows, width"),
        (mlmodel([{"type": "tensor"}]), "cannot be read"),
        (mlmodel({"a": 1}), "cannot be read"),
    ],
)
def test_what_is_no_mlmodel(data: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read_mlmodel(data)


@pytest.mark.parametrize(
    ("data", "score", "said"),
    [
        (mlmodel(outputs=None), None, "infer_signature"),
        (mlmodel(outputs=[{"type": "string"}]), None, "none of the model's outputs"),
        (mlmodel(outputs=[{"type": "double", "name": "a"}, {"type": "double", "name": "b"}]), None, r"\['a', 'b'\]"),
        (mlmodel(), "nix", "nix"),
    ],
)
def test_what_cannot_be_scored(data: bytes, score: str | None, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read_mlmodel(data).signature(score)


def test_a_pickle_stays_a_folder_of_which_nothing_is_loaded() -> None:
    given, blobs = files(MLmodel=mlmodel(ARRAY), **{"model.pkl": b"cos\nabort\n(tR."})
    made = adopt(given, blobs.__getitem__, None, columns=("temp", "wind"))
    assert (made.form, read_folder(made.data).files) == (Form.MLFLOW, tuple(given))
    assert made.signature.inputs[0].columns == ("temp", "wind")
    for wrong in (("temp",), ("temp", "temp")):
        with pytest.raises(Invalid, match="a name for each"):
            adopt(given, blobs.__getitem__, None, columns=wrong)


def test_what_is_no_model() -> None:
    given, blobs = files(**{"notes.txt": b"x"})
    with pytest.raises(Invalid, match="no MLmodel"):
        adopt(given, blobs.__getitem__, None)
    given, blobs = files(MLmodel=yaml.safe_dump({"flavors": {"spark": {}}}).encode())
    with pytest.raises(Invalid, match="python_function"):
        adopt(given, blobs.__getitem__, None)


@pytest.mark.slow
def test_skops_is_converted_where_it_answers_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"temp": random.normal(size=200), "wind": random.normal(size=200)})
    estimator = LogisticRegression().fit(frame, (frame["temp"] > frame["wind"]).to_numpy().astype(int))
    flavour = {"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}
    given, blobs = files(MLmodel=mlmodel(**flavour), **{"model.skops": skops.io.dumps(estimator)})
    made = adopt(given, blobs.__getitem__, frame.select)
    assert made.form is Form.ONNX
    assert made.parity is not None
    assert made.parity.proven
    assert made.parity.rows == 200
    for name, data in blobs.items():
        (tmp_path / next(file.name for file in given if file.blob == name)).write_bytes(data)
    alone = adopt_folder(tmp_path, digest)
    assert (alone.form, alone.data) == (Form.SKOPS, (tmp_path / "model.skops").read_bytes())
    assert [output.name for output in alone.signature.outputs] == ["label", "probabilities"]
