"""Boosted trees of LightGBM, XGBoost and CatBoost as parts of what skl2onnx converts, alone or inside a pipeline."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.base import is_classifier

from headway.engines.models.libraries import library_of
from headway.errors import ExtraMissing

_OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
_PACKAGED = {
    "lightgbm": ("onnxmltools.convert.lightgbm.operator_converters.LightGbm", "convert_lightgbm"),
    "xgboost": ("onnxmltools.convert.xgboost.operator_converters.XGBoost", "convert_xgboost"),
}


def register_boosters(estimator: Any) -> None:
    """Teach skl2onnx the boosters inside `estimator`; raises `ExtraMissing` when their converter is not installed."""
    for part in every_part(estimator):
        library = library_of(part)
        if library == "catboost":
            _register(type(part), _convert_catboost, is_classifier(part))
        elif library in _PACKAGED:
            module, name = _PACKAGED[library]
            try:
                converter = getattr(import_module(module), name)
            except ImportError as error:
                raise ExtraMissing(
                    f"{type(part).__name__} takes one more package to convert ({error.name}): "
                    f"pip install 'headway[{library}]'"
                ) from None
            _register(type(part), converter, is_classifier(part))


def every_part(estimator: Any) -> Iterator[Any]:
    """`estimator` and all estimators in it, as fitted: steps, members of ensembles, what is calibrated."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (list, tuple)):
            waiting += part
        elif hasattr(part, "get_params") and not isinstance(part, type) and id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += [inner for inner in vars(part).values() if hasattr(inner, "get_params") or _holds(inner)]


def _holds(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) < 10_000


def _register(made: type, converter: Callable[..., None], classifies: bool) -> None:
    shapes = calculate_linear_classifier_output_shapes if classifies else calculate_linear_regressor_output_shapes
    options = _OPTIONS if classifies else {"split": None}
    parser = _classifier_outputs if classifies else None
    update_registered_converter(made, f"Headway{made.__name__}", shapes, converter, options=options, parser=parser)


def _classifier_outputs(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """skl2onnx gives two outputs only to what inherits from scikit-learn's mix-in, which CatBoost does not."""
    operator = scope.declare_local_operator(f"Headway{type(model).__name__}", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("probabilities", FloatTensorType()))
    outputs: list[Any] = operator.outputs
    return outputs


def _convert_catboost(scope: Any, operator: Any, container: Any) -> None:
    """The tree ensemble of CatBoost's own export, which takes one tensor of floats."""
    booster = operator.raw_operator
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        booster.save_model(str(file), format="onnx")
        trees = onnx.load(file).graph.node[0]
    columns = operator.inputs[0]
    if not isinstance(columns.type, FloatTensorType):
        name = scope.get_unique_variable_name("floats")
        container.add_node("Cast", columns.full_name, name, to=onnx.TensorProto.FLOAT)
    else:
        name = columns.full_name
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in trees.attribute}
    outputs = [output.full_name for output in operator.outputs]
    container.add_node(
        trees.op_type, [name], outputs[: len(trees.output)], op_domain="ai.onnx.ml",
        name=scope.get_unique_operator_name("CatBoost"), **attributes,
    )  # fmt: skip
