"""Boosted trees that split in double precision, in a form that does so too.

The packaged converters round thresholds to single precision, and a value within that rounding of a split may then go
the other way. ONNX Runtime compares in double precision when the thresholds of a TreeEnsembleRegressor (ai.onnx.ml 3)
are given as tensors of doubles; the trees of scikit-learn's other ensembles and of XGBoost and CatBoost round their
features themselves and need none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
from sklearn.base import is_classifier

from headway.engines.models.boosters import every_part
from headway.engines.models.libraries import library_of
from headway.errors import Invalid

Node = dict[str, Any]
_PLAIN_LOSSES = ("squared_error", "absolute_error", "quantile", "regression", "l2", "l1", "huber")


def exact_converters(estimator: Any) -> tuple[dict[type, Callable[..., None]], dict[type, Callable[..., None]]]:
    """Converters and shapes, as `convert_sklearn` takes them, for the parts that split in double precision."""
    found = {type(part) for part in every_part(estimator) if _forest_of(part)}
    return dict.fromkeys(found, _convert), dict.fromkeys(found, _shapes)


def _forest_of(part: Any) -> Callable[[Any], tuple[float, list[list[Node]]]] | None:
    if type(part).__name__.startswith("HistGradientBoosting"):
        return _histogram_trees
    return _lightgbm_trees if library_of(part) == "lightgbm" else None


def _shapes(operator: Any) -> None:
    rows = operator.inputs[0].get_first_dimension()
    if is_classifier(operator.raw_operator):
        operator.outputs[0].type = Int64TensorType([rows])
        operator.outputs[1].type = FloatTensorType([rows, 2])
    else:
        operator.outputs[0].type = FloatTensorType([rows, 1])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    estimator = operator.raw_operator
    reader = _forest_of(estimator)
    assert reader is not None
    base, trees = reader(estimator)

    def add(kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or scope.get_unique_variable_name(kind.lower())
        container.add_node(kind, inputs, output, name=scope.get_unique_operator_name(kind), **attributes)
        return output

    doubles = add("Cast", [operator.inputs[0].full_name], to=TensorProto.DOUBLE)
    if not is_classifier(estimator):
        add("TreeEnsembleRegressor", [doubles], operator.outputs[0].full_name, op_domain="ai.onnx.ml",
            **_attributes(base, trees))  # fmt: skip
        return
    raw = add("TreeEnsembleRegressor", [doubles], op_domain="ai.onnx.ml", **_attributes(base, trees))
    second = add("Sigmoid", [raw])
    one = scope.get_unique_variable_name("one")
    container.add_initializer(one, TensorProto.FLOAT, [1], [1.0])
    add("Concat", [add("Sub", [one, second]), second], operator.outputs[1].full_name, axis=1)
    classes = scope.get_unique_variable_name("classes")
    container.add_initializer(classes, TensorProto.INT64, [2], [int(each) for each in estimator.classes_])
    chosen = add("ArgMax", [operator.outputs[1].full_name], axis=1, keepdims=0)
    add("Gather", [classes, chosen], operator.outputs[0].full_name, axis=0)


def _attributes(base: float, trees: list[list[Node]]) -> dict[str, Any]:
    """`trees` as the attributes of a TreeEnsembleRegressor of one target, in double precision."""
    nodes = [(tree, at, node) for tree, members in enumerate(trees) for at, node in enumerate(members)]
    leaves = [(tree, at, node) for tree, at, node in nodes if "leaf" in node]

    def doubles(name: str, values: list[float]) -> onnx.TensorProto:
        return helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], values)

    return {
        "n_targets": 1,
        "base_values_as_tensor": doubles("base", [base]),
        "nodes_treeids": [tree for tree, _, _ in nodes],
        "nodes_nodeids": [at for _, at, _ in nodes],
        "nodes_featureids": [int(node.get("feature", 0)) for _, _, node in nodes],
        "nodes_modes": ["LEAF" if "leaf" in node else "BRANCH_LEQ" for _, _, node in nodes],
        "nodes_values_as_tensor": doubles("values", [float(node.get("threshold", 0)) for _, _, node in nodes]),
        "nodes_truenodeids": [int(node.get("left", 0)) for _, _, node in nodes],
        "nodes_falsenodeids": [int(node.get("right", 0)) for _, _, node in nodes],
        "nodes_missing_value_tracks_true": [int(node.get("missing_left", 0)) for _, _, node in nodes],
        "target_treeids": [tree for tree, _, _ in leaves],
        "target_nodeids": [at for _, at, _ in leaves],
        "target_ids": [0] * len(leaves),
        "target_weights_as_tensor": doubles("weights", [float(node["leaf"]) for _, _, node in leaves]),
    }


def _histogram_trees(estimator: Any) -> tuple[float, list[list[Node]]]:
    if not is_classifier(estimator) and estimator.loss not in _PLAIN_LOSSES:
        raise Invalid(f"{type(estimator).__name__} with loss={estimator.loss!r} has no form in double precision")
    if estimator.is_categorical_ is not None:
        raise Invalid(f"{type(estimator).__name__} splits by categories, which has no form in double precision")
    base = float(np.ravel(estimator._baseline_prediction)[0])
    return base, [
        [
            {"leaf": node["value"]}
            if node["is_leaf"]
            else {
                "feature": node["feature_idx"], "threshold": node["num_threshold"],
                "missing_left": node["missing_go_to_left"], "left": node["left"], "right": node["right"],
            }
            for node in members[0].nodes
        ]
        for members in estimator._predictors
    ]  # fmt: skip


def _lightgbm_trees(estimator: Any) -> tuple[float, list[list[Node]]]:
    dump = estimator.booster_.dump_model()
    objective = str(dump["objective"]).split()
    if objective[0] not in ("binary", *_PLAIN_LOSSES) or "sigmoid:1" not in [*objective, "sigmoid:1"][1:2]:
        raise Invalid(f"LightGBM's objective {dump['objective']!r} has no form in double precision")
    if dump.get("average_output"):
        raise Invalid("a random forest of LightGBM has no form in double precision")
    return 0.0, [list(_numbered(tree["tree_structure"])) for tree in dump["tree_info"]]


def _numbered(root: dict[str, Any]) -> Iterator[Node]:
    """The nodes of a tree breadth first, children by their place."""
    waiting, next_place = [root], 1
    for node in waiting:
        if "leaf_value" in node:
            yield {"leaf": node["leaf_value"]}
            continue
        missing, zero_left = node["missing_type"], node["threshold"] >= 0 if node["decision_type"] == "<=" else False
        if node["decision_type"] != "<=" or (missing == "Zero" and node["default_left"] != zero_left):
            raise Invalid("LightGBM splits by categories or by absence, which has no form in double precision")
        yield {
            "feature": node["split_feature"], "threshold": node["threshold"], "left": next_place,
            "right": next_place + 1, "missing_left": node["default_left"] if missing == "NaN" else zero_left,
        }  # fmt: skip
        waiting += [node["left_child"], node["right_child"]]
        next_place += 2
