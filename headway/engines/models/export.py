"""From a fitted scikit-learn estimator to the ONNX file that is served, and the proof that both answer alike."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from headway.engines.models.scoring import feeds, score, signature_of
from headway.engines.tables.frames import kind_of_column
from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.models.records import Parity

__all__ = ["feeds", "parity", "score", "signature_of", "to_onnx"]

_OPSET = {"": 18, "ai.onnx.ml": 3}
_NOWHERE_NEAR = sys.float_info.max
"""The difference of an answer that is no number; JSON has no infinity."""
_WORKS = (
    "what works: pipelines of a ColumnTransformer of scikit-learn's own scalers, imputers and encoders, and then "
    "HistGradientBoosting, GradientBoosting, RandomForest, LogisticRegression, Ridge, MLP and more; or convert it "
    "yourself and hand over the ONNX bytes"
)


def to_onnx(estimator: Any, example: pl.DataFrame) -> bytes:
    """`estimator` as ONNX, with one input of shape [rows, 1] for each column it was fitted on, by the column's name.

    `example` holds the features as they were in training. Floats become FP32, where NaN is a missing one, and so do
    integers of which some are missing; other integers are INT64, booleans BOOL, texts BYTES. A classifier of two
    classes gives `label` [rows] and `probabilities` [rows, 2], a regressor `variable` [rows, 1]. Raises `Invalid`,
    naming what stands in the way, for an estimator that is not fitted or does not convert.
    """
    _must_be_convertible(estimator)
    names = _feature_names(estimator, example)
    inputs = [(name, _input_type(example[name])) for name in names]
    options = {"zipmap": False} if is_classifier(estimator) else {}
    taken = _over_columns(estimator, example.select(names))
    try:
        with warnings.catch_warnings():
            # The converter uses what its own dependencies deprecate; `parity` proves what it makes.
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                taken, name="headway", initial_types=inputs, target_opset=_OPSET, options={id(taken): options}
            )
    except Exception as error:  # the converter raises all sorts
        raise _refusal(estimator, error) from error
    return bytes(model.SerializeToString())


def parity(estimator: Any, onnx: bytes, frame: pl.DataFrame, tolerance: float = 1e-4) -> Parity:
    """Score every row of `frame` both ways; the largest difference and the row it is in, counted from 0.

    Differences are in units of the trained answer where that is above 1, since single precision has seven digits. A
    score that is no finite number on either side is as far off as can be.
    """
    if frame.is_empty():
        return Parity(rows=0, max_difference=0.0, worst_row=0, tolerance=tolerance)
    served = score(onnx, frame)
    trained = _answers(estimator, frame.select(_feature_names(estimator, frame)))
    difference = np.abs(served - trained) / np.maximum(1.0, np.abs(trained))
    difference[~np.isfinite(difference)] = _NOWHERE_NEAR
    worst = int(difference.argmax())
    return Parity(rows=served.size, max_difference=float(difference[worst]), worst_row=worst, tolerance=tolerance)


def _answers(estimator: Any, features: pl.DataFrame) -> NDArray[np.float64]:
    answers = estimator.predict_proba(features) if is_classifier(estimator) else estimator.predict(features)
    scores: NDArray[np.float64] = np.asarray(answers, dtype=np.float64).reshape(features.height, -1)[:, -1]
    return scores


def _must_be_convertible(estimator: Any) -> None:
    name = type(estimator).__name__
    if not isinstance(estimator, BaseEstimator) or not hasattr(estimator, "predict"):
        raise Invalid(f"{name} is no scikit-learn estimator that predicts, so it is not converted to ONNX; {_WORKS}")
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise Invalid(f"{name} is not fitted; call fit before it is logged") from error
    if not is_classifier(estimator):
        return
    if not hasattr(estimator, "predict_proba"):
        raise Invalid(f"{name} gives no probabilities; wrap it in CalibratedClassifierCV, or choose one that does")
    if len(estimator.classes_) != 2:
        classes = ", ".join(map(str, estimator.classes_[:5]))
        raise Invalid(f"{name} was fitted on the classes {classes}; it takes two, of which the second is scored")


def _feature_names(estimator: Any, frame: pl.DataFrame) -> list[str]:
    names = [str(name) for name in getattr(estimator, "feature_names_in_", frame.columns)]
    for name in names:
        if name not in frame.columns:
            raise Invalid(
                f"{type(estimator).__name__} was fitted on a column {name!r}, which the table has not"
                f"{nearest(name, frame.columns)}"
            )
    if len(names) != getattr(estimator, "n_features_in_", len(names)):
        raise Invalid(
            f"{type(estimator).__name__} was fitted on {estimator.n_features_in_} columns without names, and the table "
            f"has {len(names)}; fit it on a frame, or hand over its features alone"
        )
    return names


def _input_type(column: pl.Series) -> Any:
    match kind_of_column(column.dtype):
        case Kind.INT if not column.null_count():
            return Int64TensorType([None, 1])
        case Kind.INT | Kind.FLOAT:
            return FloatTensorType([None, 1])
        case Kind.BOOL:
            return BooleanTensorType([None, 1])
        case Kind.STR:
            return StringTensorType([None, 1])
    raise Invalid(f"feature {column.name!r} holds {column.dtype}; a model takes numbers, booleans and texts")


def _over_columns(estimator: Any, example: pl.DataFrame) -> Any:
    """`estimator` itself if it takes columns by name, else behind a transformer that puts them side by side."""
    first = estimator
    while isinstance(first, Pipeline):
        first = first.steps[0][1]
    if isinstance(first, ColumnTransformer):
        return estimator
    beside = ColumnTransformer([("columns", "passthrough", example.columns)]).fit(example)
    return Pipeline([("columns", beside), ("estimator", estimator)])


def _refusal(estimator: Any, error: Exception) -> Invalid:
    told = str(error).strip() or type(error).__name__
    named = [name for name in dict.fromkeys(_parts(estimator)) if name in told]
    culprit = " and ".join(named) or type(estimator).__name__
    return Invalid(f"{culprit} cannot be converted to ONNX ({told.splitlines()[0][:300]}); {_WORKS}")


def _parts(estimator: Any) -> Iterator[str]:
    """The types of an estimator's innermost parts."""
    if isinstance(estimator, Pipeline):
        inner = [step for _, step in estimator.steps]
    elif isinstance(estimator, ColumnTransformer):
        inner = [transformer for _, transformer, _ in estimator.transformers_]
    else:
        yield type(estimator).__name__
        return
    for part in inner:
        if not isinstance(part, str):
            yield from _parts(part)
