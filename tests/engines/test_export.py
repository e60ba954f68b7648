"""Conversion to ONNX, and the proof that the served form answers as the trained one did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.semi_supervised import LabelPropagation
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from headway.engines.models.export import feeds, parity, score, signature_of, to_onnx
from headway.errors import Invalid
from headway.lifecycle.models.records import Datatype

ROWS = 400


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    random = np.random.default_rng(0)
    amount = random.normal(size=ROWS).astype(np.float32)
    amount[::7] = np.nan
    return pl.DataFrame(
        {
            "amount": amount,
            "visits": random.integers(0, 9, ROWS),
            "member": random.random(ROWS) > 0.5,
            "shop": random.choice(["north", "south"], ROWS),
        }
    )


@pytest.fixture(scope="module")
def truth(frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(1)
    pull = frame["visits"].to_numpy() / 4 + (frame["shop"] == "north").to_numpy() + random.normal(size=ROWS)
    truth: np.ndarray[Any, Any] = (pull > 1.5).astype(int)
    return truth


def columns() -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numeric", SimpleImputer(strategy="median"), ["amount", "visits"]),
            ("member", "passthrough", ["member"]),
            ("shop", OneHotEncoder(handle_unknown="ignore"), ["shop"]),
        ]
    )


def with_missing() -> ColumnTransformer:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer([("n", "passthrough", ["amount", "visits"]), ("s", codes, ["shop"])])


ESTIMATORS = {
    "logistic": lambda: make_pipeline(columns(), LogisticRegression()),
    "boosting": lambda: make_pipeline(with_missing(), HistGradientBoostingClassifier(max_iter=20)),
    "constant": lambda: make_pipeline(with_missing(), DecisionTreeClassifier(min_samples_split=ROWS + 1)),
    "regression": lambda: make_pipeline(with_missing(), HistGradientBoostingRegressor(max_iter=20)),
    "bare, many columns": lambda: HistGradientBoostingClassifier(max_iter=20),
    "bare regression": lambda: Ridge(),
    "no column transformer": lambda: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_served_form_answers_as_the_trained_one(
    name: str, frame: pl.DataFrame, truth: np.ndarray[Any, Any]
) -> None:
    taken = frame.drop("shop") if "bare" in name or "no column" in name else frame
    taken = taken.drop("amount") if name == "bare regression" else taken
    estimator = ESTIMATORS[name]().fit(taken, truth)
    onnx = to_onnx(estimator, taken)
    proof = parity(estimator, onnx, taken)
    assert proof.proven
    assert (proof.rows, proof.max_difference < 1e-5) == (ROWS, True)
    assert [spec.shape for spec in signature_of(onnx).inputs] == [(-1, 1)] * len(estimator.feature_names_in_)
    assert onnx == to_onnx(estimator, taken)


def test_the_signature_names_types_and_score(frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    everything = to_onnx(make_pipeline(columns(), LogisticRegression()).fit(frame, truth), frame)
    signature = signature_of(everything)
    assert {spec.name: spec.datatype for spec in signature.inputs} == {
        "amount": Datatype.FP32,
        "visits": Datatype.INT64,
        "member": Datatype.BOOL,
        "shop": Datatype.BYTES,
    }
    assert signature.score == "probabilities"
    assert {spec.name: (spec.datatype, spec.shape) for spec in signature.outputs} == {
        "label": (Datatype.INT64, (-1,)),
        "probabilities": (Datatype.FP32, (-1, 2)),
    }
    with pytest.raises(Invalid, match="none of the model's outputs"):
        signature_of(everything, score="probability")
    with pytest.raises(Invalid, match="'label' is INT64"):
        signature_of(everything, score="label")
    with pytest.raises(Invalid, match="does not load the model"):
        signature_of(everything[: len(everything) // 2])


def test_integers_of_which_some_are_missing_become_floats(frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    holes = frame.with_columns(visits=pl.when(pl.int_range(pl.len()) % 5 > 0).then("visits"))
    estimator = make_pipeline(with_missing(), HistGradientBoostingClassifier(max_iter=20)).fit(holes, truth)
    onnx = to_onnx(estimator, holes)
    assert {spec.name: spec.datatype for spec in signature_of(onnx).inputs}["visits"] is Datatype.FP32
    assert parity(estimator, onnx, holes).proven


def test_parity_finds_the_row_that_differs(frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    numbers = frame.select("visits")
    estimator = LogisticRegression().fit(numbers, truth)
    onnx = to_onnx(estimator, numbers)
    other = LogisticRegression().fit(numbers, 1 - truth)
    proof = parity(other, onnx, numbers)
    assert not proof.proven
    apart = np.abs(estimator.predict_proba(numbers)[:, 1] - other.predict_proba(numbers)[:, 1])
    assert apart[proof.worst_row] == pytest.approx(apart.max())
    assert proof.max_difference == pytest.approx(apart.max(), abs=1e-5)
    assert not parity(estimator, onnx, numbers.clear()).proven


def test_large_estimates_are_compared_by_their_size(frame: pl.DataFrame) -> None:
    numbers = frame.select(pl.col("visits").cast(pl.Float32))
    estimator = Ridge().fit(numbers, np.arange(ROWS) * 1e7 + 0.1)
    proof = parity(estimator, to_onnx(estimator, numbers), numbers)
    assert (proof.proven, proof.max_difference < 1e-6) == (True, True)


def test_a_score_that_is_no_number_is_no_parity(frame: pl.DataFrame) -> None:
    numbers = frame.select("visits").cast(pl.Float32)
    estimator = Ridge().fit(numbers, np.arange(ROWS))
    holed = numbers.with_columns(visits=pl.when(pl.int_range(pl.len()) != 3).then("visits"))

    class Trusting(Ridge):  # type: ignore[misc] # answers where scikit-learn refuses
        def predict(self, features: Any) -> Any:
            return np.zeros(len(features))

    trusting = Trusting().fit(numbers, np.arange(ROWS))
    proof = parity(trusting, to_onnx(estimator, numbers), holed)
    assert (proof.worst_row, proof.proven) == (3, False)


UNCONVERTIBLE = {
    "LabelPropagation cannot be converted": lambda: make_pipeline(StandardScaler(), LabelPropagation()),
    "FunctionTransformer cannot be converted": lambda: make_pipeline(FunctionTransformer(np.tanh), Ridge()),
    "LinearSVC gives no probabilities": lambda: LinearSVC(),
}


@pytest.mark.parametrize("message", UNCONVERTIBLE)
def test_what_does_not_convert_is_refused_by_name(
    message: str, frame: pl.DataFrame, truth: np.ndarray[Any, Any]
) -> None:
    numbers = frame.select("visits").cast(pl.Float32)
    estimator = UNCONVERTIBLE[message]().fit(numbers, truth)
    with pytest.raises(Invalid, match=message):
        to_onnx(estimator, numbers)


def test_what_is_no_fitted_estimator_of_these_columns_is_refused(
    frame: pl.DataFrame, truth: np.ndarray[Any, Any]
) -> None:
    numbers = frame.select("visits", "member")
    with pytest.raises(Invalid, match="no scikit-learn estimator"):
        to_onnx(lambda rows: rows, numbers)
    with pytest.raises(Invalid, match="not fitted"):
        to_onnx(LogisticRegression(), numbers)
    fitted = LogisticRegression().fit(numbers, truth)
    with pytest.raises(Invalid, match="'visits', which the table has not; did you mean 'visit'"):
        to_onnx(fitted, numbers.rename({"visits": "visit"}))
    with pytest.raises(Invalid, match="2 columns without names"):
        to_onnx(LogisticRegression().fit(numbers.to_numpy(), truth), frame)
    alone = LogisticRegression().fit(numbers, truth)
    alone.classes_ = np.array(["a"])
    with pytest.raises(Invalid, match="the classes a; it takes one label of two classes or more"):
        to_onnx(alone, numbers)
    dated = numbers.with_columns(visits=pl.from_epoch("visits"))
    with pytest.raises(Invalid, match="'visits' holds Datetime"):
        to_onnx(Pipeline([("c", columns()), ("m", LogisticRegression())]).fit(frame, truth), frame.with_columns(dated))


def test_feeds_say_which_column_does_not_fit(frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    onnx = to_onnx(make_pipeline(columns(), LogisticRegression()).fit(frame, truth), frame)
    signature = signature_of(onnx)
    fed = feeds(signature, frame.head(3))
    assert {name: (array.shape, array.dtype.kind) for name, array in fed.items()} == {
        "amount": ((3, 1), "f"),
        "visits": ((3, 1), "i"),
        "member": ((3, 1), "b"),
        "shop": ((3, 1), "O"),
    }
    assert score(onnx, frame.clear()).shape == (0,)
    with pytest.raises(Invalid, match="did you mean 'shops'"):
        score(onnx, frame.rename({"shop": "shops"}))
    with pytest.raises(Invalid, match="'shop' misses 400 values"):
        score(onnx, frame.with_columns(shop=pl.lit(None, pl.String)))
    with pytest.raises(Invalid, match="'amount' holds String"):
        score(onnx, frame.with_columns(amount=pl.lit("12")))
    with pytest.raises(Invalid, match="not all is INT64"):
        score(onnx, frame.with_columns(visits=pl.lit(float("nan"))))
