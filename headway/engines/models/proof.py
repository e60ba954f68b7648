"""The proof that the served form of a model answers as the trained one does, row by row."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import is_classifier

from headway.engines.models.classes import several_classes
from headway.engines.models.features import feature_names
from headway.engines.models.graph_model import GraphModel
from headway.engines.models.libraries import library_of
from headway.engines.models.networks import is_network, network_answers
from headway.engines.models.opening import ScoringModel
from headway.engines.models.scoring import OnnxModel
from headway.errors import Invalid
from headway.lifecycle.models.records import Parity, WorstRow

_NOWHERE_NEAR = sys.float_info.max
"""The difference of an answer that is no number; JSON has no infinity."""
_SHOWN_FEATURES = 100


def parity(model: Any, onnx: bytes, frame: pl.DataFrame, tolerance: float = 1e-4) -> Parity:
    """Score every row of `frame` both ways; the largest difference and the row it is in, counted from 0.

    Differences are in units of the trained answer where that is above 1, since single precision has seven digits. A
    score that is no finite number on either side is as far off as can be. Labels of a classifier are compared too, but
    for rows whose score is within `tolerance` of where another label would be as good. Of rows in double precision
    it is told how many get another answer from the trained model itself once they are rounded to single precision.
    """
    return parity_of(model, OnnxModel(onnx), frame, tolerance)


def parity_of(model: Any, served_form: ScoringModel, frame: pl.DataFrame, tolerance: float = 1e-4) -> Parity:
    """`parity` of a served form that is loaded; raises `Invalid` when it does not take the columns of `frame`."""
    if frame.is_empty():
        return Parity(rows=0, max_difference=0.0, worst_row=0, tolerance=tolerance)
    served = served_form.score(frame)
    features = frame.select(feature_names(model, frame))
    trained = _scores(model, features)
    if served.shape != trained.shape:
        raise Invalid(f"the served form gives {list(served.shape)} scores, the trained one {list(trained.shape)}")
    difference = _difference(served, trained)
    worst = int(difference.argmax())
    seen = trained[worst], served[worst]
    if trained.ndim == 2:
        place = int(np.abs(served[worst] - trained[worst]).argmax())
        seen = trained[worst, place], served[worst, place]
    return Parity(
        rows=len(served),
        max_difference=float(difference[worst]),
        worst_row=worst,
        tolerance=tolerance,
        labels_apart=_labels_apart(model, served_form, features, trained, tolerance),
        rounded_apart=_rounded_apart(model, features, trained, tolerance),
        worst=WorstRow(
            features={name: _plain(value) for name, value in features.row(worst, named=True).items()}
            if features.width <= _SHOWN_FEATURES
            else {},
            trained=_plain(float(seen[0])),
            served=_plain(float(seen[1])),
        ),
    )


def parity_between(whole: GraphModel, served_form: OnnxModel, frame: pl.DataFrame, tolerance: float = 1e-4) -> Parity:
    """How far the joined form of a graph is from its parts one after the other; raises `Invalid` as they do."""
    if frame.is_empty():
        return Parity(rows=0, max_difference=0.0, worst_row=0, tolerance=tolerance)
    served, apart = served_form.score(frame), whole.score(frame)
    difference = _difference(served, apart)
    worst = int(difference.argmax())
    place = int(np.abs(np.atleast_1d(served[worst] - apart[worst])).argmax())
    labels = 0
    if (at := whole.signature.label_place) is not None:
        name = whole.signature.outputs[at].name
        told = whole.column(frame, name).astype(str) != served_form.column(frame, name).astype(str)
        labels = int((told & (_lead(apart) > tolerance)).sum())
    return Parity(
        rows=len(served), max_difference=float(difference[worst]), worst_row=worst, tolerance=tolerance,
        labels_apart=labels,
        worst=WorstRow(
            features={}, trained=_plain(float(np.atleast_1d(apart[worst])[place])),
            served=_plain(float(np.atleast_1d(served[worst])[place])),
        ),
    )  # fmt: skip


def _scores(model: Any, features: pl.DataFrame) -> NDArray[np.float64]:
    if is_network(model):
        return network_answers(model, features.columns, features)[:, -1]
    asked = _asked(model, features)
    answers = model.predict_proba(asked) if is_classifier(model) else model.predict(asked)
    scores: NDArray[np.float64] = np.asarray(answers, dtype=np.float64).reshape(features.height, -1)
    return scores if several_classes(model) else scores[:, -1]


def _asked(model: Any, features: pl.DataFrame) -> Any:
    """An array for what was fitted on one, and for boosters, some of which take no frame of polars."""
    named = getattr(model, "feature_names_in_", None) is not None and not library_of(model)
    if named or not all(dtype.is_numeric() or dtype == pl.Boolean for dtype in features.dtypes):
        return features
    return features.cast({pl.Boolean: pl.Int8}).to_numpy()


def _difference(scores: NDArray[np.float64], trained: NDArray[np.float64]) -> NDArray[np.float64]:
    """By row; of several classes, in the one that differs most."""
    difference: NDArray[np.float64] = np.abs(scores - trained) / np.maximum(1.0, np.abs(trained))
    difference[~np.isfinite(difference)] = _NOWHERE_NEAR
    return difference if difference.ndim == 1 else difference.max(axis=1)


def _labels_apart(
    model: Any, served_form: ScoringModel, features: pl.DataFrame, trained: NDArray[np.float64], tolerance: float
) -> int:  # fmt: skip
    if is_network(model) or not is_classifier(model) or not isinstance(served_form, OnnxModel):
        return 0
    if "label" not in served_form.output_names:
        return 0
    labels = np.asarray(model.predict(_asked(model, features))).reshape(-1)
    # ONNX says the classes False and True by 0 and 1.
    told = (labels.astype(int) if labels.dtype == bool else labels).astype(str)
    clear = _lead(trained) > tolerance
    return int(((served_form.column(features, "label").astype(str) != told) & clear).sum())


def _lead(trained: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a score is from where the label would be another one."""
    if trained.ndim == 1:
        return np.abs(trained - 0.5)
    ordered = np.sort(trained, axis=1)
    lead: NDArray[np.float64] = (ordered[:, -1] - ordered[:, -2]) / 2
    return lead


def _rounded_apart(model: Any, features: pl.DataFrame, trained: NDArray[np.float64], tolerance: float) -> int:
    rounded = features.cast({pl.Float64: pl.Float32})
    if is_network(model) or rounded.schema == features.schema:
        return 0
    return int((_difference(_scores(model, rounded.cast({pl.Float32: pl.Float64})), trained) > tolerance).sum())


def _plain(value: Any) -> Any:
    """As JSON can say it: no NaN, no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
