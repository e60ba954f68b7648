"""Models of the orders, fitted once for all checks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from headway.engines.gates.trial import Champion, Trial
from headway.engines.models.export import parity, to_onnx
from headway.engines.tables.contracts import infer_contract
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.models.origins import Origins
from headway.lifecycle.models.records import Baseline
from tests.engines.gatekeeper.trials import (
    DAYS,
    INPUTS,
    dataset,
    fitted,
    table,
    version_of,
)


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="package")
def training() -> pl.DataFrame:
    return table(1, 0)


@pytest.fixture(scope="package")
def held_out() -> pl.DataFrame:
    return table(2, DAYS)


@pytest.fixture(scope="package")
def contract(training: pl.DataFrame) -> Contract:
    return infer_contract(training, label="late", time="at", key="order")


@pytest.fixture(scope="package")
def models(training: pl.DataFrame) -> dict[str, bytes]:
    """Estimators by name in their served form."""
    known = training.filter(pl.col("late").is_not_null())
    shuffled = np.random.default_rng(0).permutation(known["late"].to_numpy())
    boosting = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=31, learning_rate=0.3)
    made = {
        "good": fitted(LogisticRegression(), training),
        "same": fitted(LogisticRegression(C=0.9), training),
        "constant": fitted(LogisticRegression(C=1e-12), training),
        "shuffled": fitted(boosting, training, labels=shuffled),
    }
    return {name: to_onnx(estimator, training.select(INPUTS)) for name, estimator in made.items()}


@pytest.fixture(scope="package")
def sound(models: dict[str, bytes], training: pl.DataFrame, held_out: pl.DataFrame, contract: Contract) -> Trial:
    """A good model with all that a gate may ask for."""
    proof = parity(fitted(LogisticRegression(), training), models["good"], held_out)
    return Trial(
        version=version_of(models["good"], parity=proof, baselines=(Baseline(name="constant", blob="b3:0"),)),
        onnx=models["good"],
        held_out=dataset("later", held_out, contract),
        training=(dataset("training", training, contract),),
        baselines={"constant": models["constant"]},
        champion=Champion(version_of(models["same"], number=1), models["same"]),
        origins=Origins(datasets=("dv_1",), tags=(), complete=True),
    )
