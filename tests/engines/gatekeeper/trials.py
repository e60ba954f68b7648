"""A small world for gates to judge: orders that come late, and models of them."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from headway.engines.gates.gatekeeper import measure
from headway.engines.gates.trial import Table, Trial
from headway.engines.models.export import signature_of
from headway.kernel.records import digest, encode
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.records import Finding
from headway.lifecycle.models.records import ModelVersion, Task

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, ROWS_A_DAY = 30, 60
INPUTS = ["load", "shop", "weight"]


def table(seed: int, first_day: int, days: int = DAYS) -> pl.DataFrame:
    """Orders that are late the more often the higher the load, whose days differ, and of which a few are open."""
    random = np.random.default_rng(seed)
    n = days * ROWS_A_DAY
    day = np.repeat(np.arange(first_day, first_day + days), ROWS_A_DAY)
    load, weight = random.normal(size=n).astype(np.float32), random.normal(size=n).astype(np.float32)
    shop = random.choice(["north", "south", "west"], n, p=[0.5, 0.4, 0.1])
    pull = 2 * load + (shop == "south") + np.repeat(random.normal(scale=0.3, size=days), ROWS_A_DAY)
    late = (pull + random.logistic(size=n) > 0.5).astype(np.int8)
    minutes = random.random(n) * 1440
    return pl.DataFrame(
        {
            "order": [f"{seed}-{place}" for place in range(n)],
            "at": [START + timedelta(days=int(d), minutes=float(m)) for d, m in zip(day, minutes, strict=True)],
            "load": load,
            "weight": weight,
            "shop": shop,
            "late": [None if place % 50 == 0 else int(value) for place, value in enumerate(late)],
        }
    )


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def dataset(name: str, frame: pl.DataFrame, contract: Contract | None) -> Table:
    data = parquet(frame)
    version = DatasetVersion(
        id=f"dv_{name:0>26}", created_at=START, dataset=name, number=1, blob=digest(data), size=len(data),
        rows=frame.height, schema=(), contract=contract,
    )  # fmt: skip
    return Table(version, data)


def columns() -> ColumnTransformer:
    shops = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("numbers", "passthrough", ["load", "weight"]), ("shop", shops, ["shop"])])


def fitted(estimator: Any, frame: pl.DataFrame, *, labels: np.ndarray[Any, Any] | None = None) -> Pipeline:
    known = frame.filter(pl.col("late").is_not_null())
    truth = known["late"].to_numpy() if labels is None else labels
    return make_pipeline(columns(), estimator).fit(known.select(INPUTS), truth)


def version_of(onnx_bytes: bytes, **changes: Any) -> ModelVersion:
    return ModelVersion(
        id="mv_" + "0" * 26, created_at=START, model="lateness", number=2, blob=digest(onnx_bytes),
        size=len(onnx_bytes), signature=signature_of(onnx_bytes), task=Task.BINARY, run="rn_x",
        training=("dv_training",), evaluation="dv_later",
    ).but(**changes)  # fmt: skip


def with_model(trial: Trial, onnx_bytes: bytes, **changes: Any) -> Trial:
    return replace(trial, version=version_of(onnx_bytes, parity=trial.version.parity, **changes), onnx=onnx_bytes)


def with_held_out(trial: Trial, frame: pl.DataFrame) -> Trial:
    return replace(trial, held_out=dataset("later", frame, trial.contract))


def find(trial: Trial, check: str, **settings: Any) -> Finding:
    measured = measure(trial, [CheckSpec(check=check, settings=settings)])
    assert measured.findings.keys() == measured.inputs.keys() == {check}
    finding = measured.findings[check]
    assert msgspec.json.decode(encode(finding), type=Finding) == finding
    return finding
