"""What the pipeline trains: a good model, each way in which one can be bad, and the baselines of all."""

from __future__ import annotations

from typing import Any

import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

NUMBERS, TEXTS = ["distance_km", "weight_kg"], ["courier"]


def candidate(kind: str, table: pl.DataFrame, strength: float) -> Pipeline:
    if kind == "inverted":
        table = table.with_columns(late=1 - pl.col("late"))
    if kind == "guess":
        return baselines(table)["guess"]
    numbers = [*NUMBERS, "delay_minutes"] if kind == "leaky" else NUMBERS
    return fitted(table, numbers, LogisticRegression(C=strength))


def baselines(table: pl.DataFrame) -> dict[str, Pipeline]:
    never_splits = DecisionTreeClassifier(min_samples_split=table.height + 1)
    return {
        "guess": fitted(table, NUMBERS, never_splits),
        "plain": fitted(table, ["distance_km"], LogisticRegression()),
    }


def fitted(table: pl.DataFrame, numbers: list[str], classifier: Any) -> Pipeline:
    """A pipeline over named columns, fitted on float32, as it is asked when it serves."""
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS)]
    )
    frame = table.select(*numbers, *TEXTS).cast({pl.Float64: pl.Float32})
    return Pipeline([("columns", columns), ("classifier", classifier)]).fit(frame, table["late"].to_numpy())
