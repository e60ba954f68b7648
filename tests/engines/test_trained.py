"""From trained models of other libraries to ONNX: each answers as it did; slow, since the libraries are large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from headway.engines.models.export import export, to_onnx
from headway.errors import Invalid
from headway.lifecycle.models.records import Form

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

ROWS = 1500
LIBRARIES = ("lightgbm", "xgboost", "catboost")
NAMES = {"lightgbm": "LGBM", "xgboost": "XGB", "catboost": "CatBoost"}
OPTIONS: dict[str, dict[str, Any]] = {
    "lightgbm": {"n_estimators": 40, "n_jobs": 1, "verbose": -1},
    "xgboost": {"n_estimators": 40, "n_jobs": 1},
    "catboost": {"n_estimators": 40, "thread_count": 1, "verbose": 0, "allow_writing_files": False},
}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    random = np.random.default_rng(0)
    amount = random.normal(size=ROWS)
    amount[::7] = np.nan
    return pl.DataFrame(
        {
            "amount": amount.astype(np.float32),
            "weight": random.normal(size=ROWS).astype(np.float32),
            "visits": random.integers(0, 9, ROWS),
            "shop": random.choice(["north", "south"], ROWS),
        }
    )


@pytest.fixture(scope="module")
def truth(frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(1).normal(size=ROWS)
    pull = frame["visits"].to_numpy() / 4 + frame["weight"].to_numpy() + (frame["shop"] == "north").to_numpy() + noise
    result: np.ndarray[Any, Any] = (pull > 1.5).astype(int)
    return result


def booster(library: str, kind: str) -> Callable[..., Any]:
    return lambda: getattr(pytest.importorskip(library), NAMES[library] + kind)(**OPTIONS[library])


def columns() -> ColumnTransformer:
    shop = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    return ColumnTransformer([("n", "passthrough", ["amount", "weight", "visits"]), ("s", shop, ["shop"])])


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_boosted_trees_answer_as_trained(
    library: str, kind: str, frame: pl.DataFrame, truth: np.ndarray[Any, Any]
) -> None:
    numbers = frame.drop("shop")
    target = truth if kind == "Classifier" else numbers["weight"].to_numpy() * 1000 + truth
    model = booster(library, kind)().fit(numbers.to_numpy(), target)
    made = export(model, numbers, numbers)
    assert (made.form, made.parity.proven) == (Form.ONNX, True)
    assert [spec.name for spec in made.signature.inputs] == numbers.columns
    assert {each.name for each in made.variants if each.single_us} >= {"single", "one tensor"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_boosted_trees_tell_three_classes_apart(
    library: str, frame: pl.DataFrame, truth: np.ndarray[Any, Any]
) -> None:  # fmt: skip
    numbers = frame.select("weight", "visits").cast(pl.Float32)
    places = truth + (numbers["weight"].to_numpy() > 0.5)
    named = places if library == "xgboost" else np.array(["low", "some", "high"])[places]
    model = booster(library, "Classifier")().fit(numbers.to_numpy(), named)
    made = export(model, numbers, numbers)
    assert (made.form, made.parity.proven, made.parity.labels_apart) == (Form.ONNX, True, 0)
    assert made.signature.classes == tuple(model.classes_.tolist())


@pytest.mark.parametrize("library", LIBRARIES)
def test_boosted_trees_inside_a_pipeline(library: str, frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    model = make_pipeline(columns(), booster(library, "Classifier")()).fit(frame, truth)
    made = export(model, frame, frame)
    assert made.parity.proven, made
    assert {spec.name for spec in made.signature.inputs} == set(frame.columns)


@pytest.mark.parametrize("library", LIBRARIES)
def test_boosted_trees_inside_ensembles(library: str, frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    numbers = frame.select("weight", "visits").cast(pl.Float32)
    calibrated = CalibratedClassifierCV(booster(library, "Classifier")(), cv=2).fit(numbers.to_numpy(), truth)
    # skl2onnx calibrates LightGBM by the wrong class: what it makes must not pass for proven.
    assert export(calibrated, numbers, numbers).parity.proven is (library != "lightgbm")
    members = [("boosted", booster(library, "Classifier")()), ("plain", LogisticRegression())]
    stacked = StackingClassifier(members, cv=2).fit(numbers.to_numpy(), truth)
    assert export(stacked, numbers, numbers).parity.proven


def test_lightgbm_splits_in_double_precision(frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    """At twenty million, single precision cannot tell the quarter from the half."""
    random = np.random.default_rng(2)
    fine = pl.DataFrame({"at": 2e7 + random.integers(0, 40, ROWS) / 4, "weight": random.normal(size=ROWS)})
    target = (fine["at"].to_numpy() * 4 % 8 > 3).astype(int)
    model = booster("lightgbm", "Classifier")().fit(fine.to_numpy(), target)
    made = export(model, fine, fine)
    assert made.parity.proven
    assert made.note.startswith("double, since single: differs by")
    assert "next to a split" in made.note


def test_a_network_answers_as_trained(frame: pl.DataFrame) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    numbers = frame.select("weight", "visits")
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1), torch.nn.Sigmoid()
    )
    made = export(network, numbers, numbers)
    assert (made.parity.proven, made.signature.score, network.training) == (True, "score", True)
    assert [spec.name for spec in made.signature.inputs] == ["weight", "visits"]
    program = torch.export.export(network.eval(), (torch.zeros(3, 2),), dynamic_shapes=({0: torch.export.Dim("rows")},))
    assert export(program, numbers, numbers).parity.max_difference == pytest.approx(
        made.parity.max_difference, abs=1e-6
    )

    class Branching(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, rows: Any) -> Any:
            return rows if rows.sum() > 0 else -rows

    with pytest.raises(Invalid, match="PyTorch does not bring Branching into ONNX"):
        to_onnx(Branching(), numbers)


def test_what_has_no_form_in_double_precision_says_so(frame: pl.DataFrame, truth: np.ndarray[Any, Any]) -> None:
    shops = frame.select("visits").with_columns(weight=frame["weight"].cast(pl.Float64))
    model = booster("lightgbm", "Classifier")().fit(shops.to_numpy(), truth, categorical_feature=[0])
    with pytest.raises(Invalid, match="splits by categories"):
        to_onnx(model, shops, exact=True)
