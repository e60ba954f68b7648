"""Three models of the same question, from a guess to a good one, and how well they answer it.

Each `fit_*` takes rows of `flights.with_features` that have a label, and returns a scikit-learn pipeline over the raw
named columns of `FEATURES`, so that whoever asks the model need not know how it was prepared. The numeric columns are
Float32 when the model is trained, because that is what the ONNX model is given when it serves.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
from flights import FEATURES
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

_OPSET = {"": 18, "ai.onnx.ml": 3}


def fit_constant(frame: pl.DataFrame) -> Pipeline:
    """The share of late flights in `frame`, for every flight: a tree that may not split."""
    return _fit(_for_trees(), DecisionTreeClassifier(min_samples_split=frame.height + 1), frame)


def fit_logistic(frame: pl.DataFrame) -> Pipeline:
    """A logistic regression: medians for what is missing, unit variance, one column for each category."""
    columns = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), list(FEATURES.numeric)),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), list(FEATURES.categorical)),
        ]
    )
    return _fit(columns, LogisticRegression(C=0.3, max_iter=300), frame)


def fit_boosting(frame: pl.DataFrame, *, shuffle_labels: bool = False, seed: int = 0) -> Pipeline:
    """Gradient-boosted trees, which treat a missing number as a value of its own.

    `shuffle_labels` deals the labels out anew: a model that trains without complaint and has learnt nothing.
    """
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=150, min_samples_leaf=300, max_features=0.3, l2_regularization=1.0,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    if shuffle_labels:
        frame = frame.with_columns(late=np.random.default_rng(seed).permutation(frame["late"].to_numpy()))
    return _fit(_for_trees(), boosting, frame)


def probability(estimator: Pipeline, frame: pl.DataFrame) -> NDArray[np.float64]:
    """The probability of being late, one for each row of `frame`."""
    answer: NDArray[np.float64] = estimator.predict_proba(_features(frame))[:, 1]
    return answer


def scores(late: NDArray[Any], probability: NDArray[Any]) -> dict[str, float]:
    """How good `probability` was, given what happened: AUC (more is better), log loss and Brier score (less is)."""
    return {
        "rows": float(len(late)),
        "late_share": float(late.mean()),
        "auc": float(roc_auc_score(late, probability)),
        "log_loss": float(log_loss(late, probability)),
        "brier": float(brier_score_loss(late, probability)),
    }


def to_onnx(estimator: Pipeline, frame: pl.DataFrame) -> bytes:
    """`estimator` as ONNX: an input of shape [n, 1] for each column it was fitted on, by the column's name.

    The types are those of `frame`: numbers become float32, where NaN is a missing one, text becomes string. Outputs
    are `label` [n] and `probabilities` [n, classes]. Works for any pipeline over named columns.
    The same estimator gives the same bytes.
    """
    inputs = [
        (name, StringTensorType([None, 1]) if frame[name].dtype == pl.String else FloatTensorType([None, 1]))
        for name in estimator.feature_names_in_
    ]
    with warnings.catch_warnings():
        # skl2onnx 1.20 writes booleans where ONNX has integers; protobuf 6 takes them and says that 7 will not.
        warnings.filterwarnings("ignore", "Field onnx.AttributeProto.ints", DeprecationWarning)
        model = convert_sklearn(
            estimator,
            name="model",  # without one it is a new random name each time
            initial_types=inputs,
            target_opset=_OPSET,
            options={id(estimator): {"zipmap": False}},
        )
    return bytes(model.SerializeToString())


def tensors(frame: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """The features of `frame` as an ONNX model takes them: arrays of shape [n, 1], a missing number is NaN."""
    numeric = {name: frame[name].fill_null(np.nan).to_numpy() for name in FEATURES.numeric}
    categorical = {name: frame[name].to_numpy().astype(object) for name in FEATURES.categorical}
    return {name: column.reshape(-1, 1) for name, column in (numeric | categorical).items()}


def _for_trees() -> ColumnTransformer:
    """A number for each category, and -1 for one that training has not seen."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer(
        [
            ("numeric", "passthrough", list(FEATURES.numeric)),
            ("categorical", codes, list(FEATURES.categorical)),
        ]
    )


def _fit(columns: ColumnTransformer, classifier: Any, frame: pl.DataFrame) -> Pipeline:
    return Pipeline([("columns", columns), ("classifier", classifier)]).fit(_features(frame), frame["late"].to_numpy())


def _features(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(*FEATURES.numeric, *FEATURES.categorical)
