"""Estimators of scikit-learn, LightGBM, XGBoost and CatBoost, and pipelines of them, as ONNX by skl2onnx."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from headway.engines.models.boosters import every_part, register_boosters
from headway.engines.models.doubles import exact_converters
from headway.engines.models.features import datatype_of, feature_names
from headway.engines.models.libraries import library_of
from headway.engines.models.packing import INPUT
from headway.errors import HeadwayError, Invalid, first_line
from headway.lifecycle.models.records import Datatype

_OPSET = {"": 18, "ai.onnx.ml": 3}
_WORKS = (
    "what works: pipelines of a ColumnTransformer of scikit-learn's own scalers, imputers and encoders, and then "
    "HistGradientBoosting, GradientBoosting, RandomForest, LogisticRegression, Ridge, MLP, LightGBM, XGBoost, CatBoost "
    "and more; a PyTorch network of one tensor; or convert it yourself and hand over the ONNX bytes"
)
_TYPES = {
    Datatype.BOOL: BooleanTensorType,
    Datatype.INT64: Int64TensorType,
    Datatype.FP32: FloatTensorType,
    Datatype.FP64: DoubleTensorType,
    Datatype.BYTES: StringTensorType,
}


def estimator_to_onnx(
    estimator: Any, example: pl.DataFrame, *, exact: bool = False, side_by_side: bool = False
) -> bytes:  # fmt: skip
    """As `export.to_onnx`; `side_by_side` gives it one input of all columns instead, `INPUT` [rows, width] of FP32.

    Raises `Invalid` for what is not fitted or does not convert, `ExtraMissing` without a booster's converter.
    """
    must_be_convertible(estimator)
    names = feature_names(estimator, example)
    inputs = [(name, _TYPES[datatype_of(example[name], exact=exact)]([None, 1])) for name in names]
    taken = estimator
    if side_by_side:
        if _takes_columns(estimator):
            raise Invalid("its columns are told apart by name")
        inputs = [(INPUT, FloatTensorType([None, len(names)]))]
    else:
        taken = _over_columns(estimator, example.select(names))
    options = {id(taken): {"zipmap": False}} if is_classifier(estimator) else {}
    try:
        register_boosters(estimator)
        conversions, shapes = exact_converters(estimator) if exact else ({}, {})
        with warnings.catch_warnings():
            # The converter uses what its own dependencies deprecate; `parity` proves what it makes.
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                taken, name="headway", initial_types=inputs, target_opset=_OPSET, options=options,
                custom_conversion_functions=conversions, custom_shape_calculators=shapes,
            )  # fmt: skip
    except HeadwayError:
        raise
    except Exception as error:  # the converter raises all sorts
        raise _refusal(estimator, error) from error
    return bytes(model.SerializeToString(deterministic=True))


def must_be_convertible(estimator: Any) -> None:
    """Raises `Invalid` for what is no fitted estimator of a number, or of the probabilities of classes."""
    name = type(estimator).__name__
    known = isinstance(estimator, BaseEstimator) or library_of(estimator)
    if not known or not hasattr(estimator, "get_params") or not hasattr(estimator, "predict"):
        raise Invalid(f"{name} is no scikit-learn estimator that predicts, so it is not converted to ONNX; {_WORKS}")
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise Invalid(f"{name} is not fitted; call fit before it is logged") from error
    if not is_classifier(estimator):
        return
    if not hasattr(estimator, "predict_proba"):
        raise Invalid(f"{name} gives no probabilities; wrap it in CalibratedClassifierCV, or choose one that does")
    classes = np.asarray(estimator.classes_)
    if classes.ndim != 1 or len(classes) < 2:
        told = ", ".join(map(str, classes.ravel()[:5].tolist()))
        raise Invalid(f"{name} was fitted on the classes {told}; it takes one label of two classes or more")


def _takes_columns(estimator: Any) -> bool:
    """Whether it tells its columns apart by name, and not by their place."""
    first = estimator
    while isinstance(first, Pipeline):
        first = first.steps[0][1]
    return isinstance(first, ColumnTransformer)


def _over_columns(estimator: Any, example: pl.DataFrame) -> Any:
    """`estimator` itself if it takes columns by name, else behind a transformer that puts them side by side."""
    if _takes_columns(estimator):
        return estimator
    beside = ColumnTransformer([("columns", "passthrough", example.columns)]).fit(example)
    return Pipeline([("columns", beside), ("estimator", estimator)])


def _refusal(estimator: Any, error: Exception) -> Invalid:
    parts = (type(part).__name__ for part in every_part(estimator))
    named = [
        name for name in dict.fromkeys(parts) if name in str(error) and name not in ("Pipeline", "ColumnTransformer")
    ]
    culprit = " and ".join(named) or type(estimator).__name__
    return Invalid(f"{culprit} cannot be converted to ONNX ({first_line(error)}); {_WORKS}")
