"""Will an order come late? `kind` says what is trained: a good model, or one of the ways in which it can be bad."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl

import headway as hw

HERE = Path(__file__).parent

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
    return client().datasets.version("orders").id


@hw.step
def split(version: str, held_out_days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The last days are held out."""
    table = client().datasets.read(version).sort("ordered_at")
    days = table["ordered_at"].dt.date()
    border = days.unique().sort()[-held_out_days]
    return table.filter(days < border), table.filter(days >= border)


@hw.step(cache=False)
def fit(training: pl.DataFrame, held_out: pl.DataFrame, version: str, kind: str, strength: float) -> str:
    """Waits while there is a file `hold-run` in the project, so that a test can act here."""
    # Here, because the gate reads this module too, and needs no trainer.
    from trainers import baselines, candidate  # noqa: PLC0415

    wait_while(HERE / "hold-run")
    if kind == "broken":
        raise ValueError("no model comes of this")
    learnt = client().datasets.add("training", training, contract=CONTRACT, came_from=[version])
    judged = client().datasets.add("held-out", held_out, contract=CONTRACT, came_from=[version])
    model = candidate(kind, training, strength)
    return hw.log_model(
        "lateness", model, training=[learnt], evaluation=judged, baselines=baselines(training), note=kind
    ).id


@hw.pipeline
def train(kind: str = "good", strength: float = 1.0, held_out_days: int = 12) -> Any:
    version = newest()
    training, held_out = split(version, held_out_days)
    return training if kind == "nothing" else fit(training, held_out, version, kind, strength)


@hw.check
def may_go_on(subject: hw.Subject) -> bool:
    """Every held-out row is scored."""
    wait_while(HERE / "hold-gate")
    return len(subject.scores) == len(subject.labels)


def client() -> hw.Client:
    run = hw.active_run()
    assert run is not None
    return run.client


def wait_while(file: Path) -> None:
    while file.exists():
        file.with_suffix(".reached").touch()
        time.sleep(0.02)
