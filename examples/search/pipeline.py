"""A model whose params are searched for: each trial is a run of this pipeline, and registers what it made."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import log_loss

import headway as hw


@hw.step
def points(rows: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two rings, one inside the other, with some noise: to learn from, and to judge by."""
    chance = np.random.default_rng(seed)
    inner = chance.integers(0, 2, rows)
    radius, angle = np.where(inner == 1, 1.0, 2.0) + chance.normal(0, 0.4, rows), chance.uniform(0, 2 * np.pi, rows)
    x, y = (radius * np.cos(angle)).astype(np.float32), (radius * np.sin(angle)).astype(np.float32)
    table = pl.DataFrame({"x": x, "y": y, "inner": inner.astype(np.int64)})
    return table.head(rows // 2), table.tail(rows - rows // 2)


@hw.step
def fit(table: pl.DataFrame, depth: int, trees: int) -> Any:
    model = ExtraTreesClassifier(n_estimators=trees, max_depth=depth, random_state=0)
    return model.fit(table.select("x", "y").to_numpy(), table["inner"].to_numpy())


@hw.step(cache=False)
def register(model: Any, table: pl.DataFrame, held_out: pl.DataFrame) -> float:
    features = held_out.select("x", "y")
    loss = float(log_loss(held_out["inner"].to_numpy(), model.predict_proba(features.to_numpy())))
    learnt, judged = hw.add_dataset("rings-training", table), hw.add_dataset("rings-held-out", held_out)
    hw.log_model("rings", model, training=[learnt], evaluation=judged, example=features, metrics={"loss": loss})
    return loss


@hw.pipeline
def train(depth: int = 3, trees: int = 20, rows: int = 600, seed: int = 0) -> Any:
    table, held_out = points(rows, seed)
    return register(fit(table, depth, trees), table, held_out)
