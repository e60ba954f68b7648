"""What the `MLmodel` file of a model that MLflow has logged says; nothing of the model itself is loaded.

Source: mlflow.org/docs, "MLflow Models", "Model Signatures and Input Examples".
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import yaml

from headway.errors import Invalid
from headway.lifecycle.models.records import Datatype, Feeding, Signature, TensorSpec

_MOST_BYTES = 2**20
_COLUMNS = {
    "boolean": Datatype.BOOL, "integer": Datatype.INT32, "long": Datatype.INT64, "float": Datatype.FP32,
    "double": Datatype.FP64, "string": Datatype.BYTES,
}  # fmt: skip
_TENSORS = {
    "bool": Datatype.BOOL, "int32": Datatype.INT32, "int64": Datatype.INT64, "float32": Datatype.FP32,
    "float64": Datatype.FP64, "object": Datatype.BYTES, "str": Datatype.BYTES,
}  # fmt: skip
_SIGNED = "log it again with signature=infer_signature(inputs, model.predict(inputs))"


class Flavours(NamedTuple):
    """`of` has the settings of each flavour by its name; without a signature `inputs` and `outputs` are empty."""

    of: dict[str, dict[str, Any]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feeding: Feeding

    @property
    def skops_file(self) -> str:
        """The file of a scikit-learn model that skops has written, or nothing."""
        sklearn = self.of.get("sklearn", {})
        return str(sklearn.get("pickled_model", "")) if sklearn.get("serialization_format") == "skops" else ""

    @property
    def onnx_file(self) -> str:
        return str(self.of.get("onnx", {}).get("data", ""))

    def signature(self, score: str | None) -> Signature:
        """Raises `Invalid` when there is none, and when it is unclear which output is the score."""
        if not self.inputs or not self.outputs:
            raise Invalid(f"the model was logged without a signature of inputs and outputs; {_SIGNED}")
        numeric = [spec.name for spec in self.outputs if spec.datatype is not Datatype.BYTES]
        if score is None and len(numeric) == 1:
            score = numeric[0]
        if score not in numeric:
            raise Invalid(f"score={score!r} is none of the model's outputs of numbers; name one of {numeric}")
        return Signature(inputs=self.inputs, outputs=self.outputs, score=str(score))


def read_mlmodel(data: bytes) -> Flavours:
    """Raises `Invalid` for a file that is no `MLmodel`, and for inputs or outputs that cannot be served."""
    if len(data) > _MOST_BYTES:
        raise Invalid(f"an MLmodel file has at most {_MOST_BYTES} bytes, not {len(data)}")
    try:
        told = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(f"the MLmodel file cannot be read: {str(error)[:300]}") from None
    flavours = told.get("flavors") if isinstance(told, dict) else None
    if not isinstance(flavours, dict) or not all(isinstance(each, dict) for each in flavours.values()):
        raise Invalid("the MLmodel file names no flavors")
    signature = told.get("signature") or {}
    inputs, feeding = _specs(signature, "inputs")
    outputs, _ = _specs(signature, "outputs")
    return Flavours(flavours, inputs, outputs, feeding)


def _specs(signature: Any, side: str) -> tuple[tuple[TensorSpec, ...], Feeding]:
    text = signature.get(side) if isinstance(signature, dict) else None
    if not text:
        return (), Feeding.FRAME
    try:
        given = json.loads(text)
        tensors = [each for each in given if each["type"] == "tensor"]
        if tensors:
            specs = tuple(_tensor(each, side, len(given)) for each in given)
            named = any(each.get("name") for each in given)
            return specs, Feeding.ARRAYS if named or len(given) > 1 else Feeding.ARRAY
        return tuple(_column(each, side, len(given), place) for place, each in enumerate(given)), Feeding.FRAME
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid(f"the signature's {side} cannot be read ({error!r}); {_SIGNED}") from None


def _column(given: Any, side: str, count: int, place: int) -> TensorSpec:
    name = given.get("name") or (_unnamed(side) if count == 1 else f"{_unnamed(side)}_{place}")
    if given["type"] not in _COLUMNS:
        raise Invalid(f"{side} {name!r} is {given['type']}; what can be served is {', '.join(_COLUMNS)}")
    return TensorSpec(
        name=str(name), datatype=_COLUMNS[given["type"]], shape=(-1, 1) if side == "inputs" else (-1,)
    )  # fmt: skip


def _tensor(given: Any, side: str, count: int) -> TensorSpec:
    name = given.get("name") or _unnamed(side)
    dtype, shape = given["tensor-spec"]["dtype"], tuple(int(size) for size in given["tensor-spec"]["shape"])
    if dtype not in _TENSORS:
        raise Invalid(f"{side} {name!r} is {dtype}; what can be served is {', '.join(_TENSORS)}")
    if side == "inputs" and (len(shape) not in (1, 2) or shape[1:] == (-1,)):
        raise Invalid(f"input {name!r} has shape {list(shape)}; it must be [rows] or [rows, width]")
    return TensorSpec(name=str(name), datatype=_TENSORS[dtype], shape=(-1, *shape[1:]))


def _unnamed(side: str) -> str:
    return "input" if side == "inputs" else "prediction"
