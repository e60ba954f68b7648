"""Will an order come late? `kind` says what is trained: good models, and each way in which one can be bad."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import headway as hw

HERE = Path(__file__).parent
NUMBERS, TEXTS = ["distance_km", "weight_kg"], ["courier"]

CONTRACT = hw.Contract(
    columns=(
        hw.ColumnRule(name="order", kind=hw.Kind.STR, use=hw.Use.KEY),
        hw.ColumnRule(name="ordered_at", kind=hw.Kind.TIME, use=hw.Use.TIME),
        hw.ColumnRule(name="distance_km", kind=hw.Kind.FLOAT, low=0, high=500, unit="km"),
        hw.ColumnRule(name="weight_kg", kind=hw.Kind.FLOAT, low=0, high=100, unit="kg"),
        hw.ColumnRule(name="courier", kind=hw.Kind.STR, levels=("bike", "truck", "van")),
        hw.ColumnRule(name="delay_minutes", kind=hw.Kind.FLOAT, use=hw.Use.BANNED),
        hw.ColumnRule(name="late", kind=hw.Kind.INT, use=hw.Use.LABEL, low=0, high=1),
    )
)


@hw.step(cache=False)
def newest() -> str:
    return hw.connect().datasets.version("orders").id


@hw.step
def split(version: str, held_out_days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The last days are held out."""
    table = hw.connect().datasets.read(version).sort("ordered_at")
    days = table["ordered_at"].dt.date()
    border = days.unique().sort()[-held_out_days]
    return table.filter(days < border), table.filter(days >= border)


@hw.step
def fit(training: pl.DataFrame, kind: str, strength: float) -> dict[str, Any]:
    """The candidate and its baselines. With a file `hold-run` in the project it waits, so that a test can act here."""
    _wait_while(HERE / "hold-run")
    if kind == "broken":
        raise ValueError("no model comes of this")
    guess = fitted(training, NUMBERS, DecisionTreeClassifier(min_samples_split=training.height + 1))
    made = {
        "good": lambda: fitted(training, NUMBERS, LogisticRegression(C=strength)),
        "inverted": lambda: fitted(inverted(training), NUMBERS, LogisticRegression(C=strength)),
        "leaky": lambda: fitted(training, [*NUMBERS, "delay_minutes"], LogisticRegression(C=strength)),
        "guess": lambda: guess,
    }
    plain = fitted(training, ["distance_km"], LogisticRegression())
    return {"candidate": made[kind](), "guess": guess, "plain": plain}


@hw.step(cache=False)
def register(models: dict[str, Any], training: pl.DataFrame, held_out: pl.DataFrame, version: str) -> str:
    client = hw.connect()
    learnt = client.datasets.add("training", training, contract=CONTRACT, came_from=[version])
    judged = client.datasets.add("held-out", held_out, contract=CONTRACT, came_from=[version])
    added = hw.log_model(
        "lateness", models["candidate"], training=[learnt], evaluation=judged,
        baselines={"guess": models["guess"], "plain": models["plain"]},
    )  # fmt: skip
    return added.id


@hw.pipeline
def train(kind: str = "good", strength: float = 1.0, held_out_days: int = 12) -> Any:
    version = newest()
    training, held_out = split(version, held_out_days)
    if kind == "nothing":
        return training
    return register(fit(training, kind, strength), training, held_out, version)


@hw.check
def may_go_on(subject: hw.Subject) -> bool:
    """Passes, but waits while there is a file `hold-gate`, so that a test can act while the gate measures."""
    _wait_while(HERE / "hold-gate")
    return len(subject.scores) > 0


def _wait_while(file: Path) -> None:
    while file.exists():
        file.with_suffix(".reached").touch()
        time.sleep(0.02)


def fitted(table: pl.DataFrame, numbers: list[str], classifier: Any) -> Pipeline:
    """A pipeline over named columns, fitted on float32, as it is asked when it serves."""
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS)]
    )
    frame = table.select(*numbers, *TEXTS).cast({pl.Float64: pl.Float32})
    return Pipeline([("columns", columns), ("classifier", classifier)]).fit(frame, table["late"].to_numpy())


def inverted(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(late=1 - pl.col("late"))
