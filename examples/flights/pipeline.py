"""From three tables to a model version: ingest, features, split by time, train, evaluate."""

from __future__ import annotations

from typing import Any

import polars as pl
from contracts import FEATURES
from flights import arrived, with_features
from training import fit_boosting, fit_constant, fit_logistic, probability, scores

import headway as hw

MODEL = "lateness"
_TABLES = ("departures", "weather", "planes")


@hw.step(cache=False)
def ingest() -> dict[str, str]:
    """Which versions of the tables are the newest: by id, so that what follows is the same wherever they are."""
    client = hw.connect()
    return {name: client.datasets.version(name).id for name in _TABLES}


@hw.step
def features(versions: dict[str, str]) -> pl.DataFrame:
    client = hw.connect()
    table = with_features(*(client.datasets.read(versions[name]) for name in _TABLES))
    return arrived(table)


@hw.step
def split(table: pl.DataFrame, held_out_days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The last days are held out: a model is judged on what came after all that it learnt from."""
    days = pl.col("scheduled_at").dt.date()
    border = table.select(days.max() - pl.duration(days=held_out_days - 1)).item()
    return table.filter(days < border), table.filter(days >= border)


@hw.step
def baselines(training: pl.DataFrame) -> dict[str, Any]:
    """What a better model has to beat."""
    return {"constant": fit_constant(training), "logistic": fit_logistic(training)}


@hw.step
def train(training: pl.DataFrame, shuffle_labels: bool, seed: int) -> Any:
    return fit_boosting(training, shuffle_labels=shuffle_labels, seed=seed)


@hw.step(cache=False)
def evaluate(
    model: Any, simpler: dict[str, Any], training: pl.DataFrame, held_out: pl.DataFrame, versions: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Track each model as a run of its own, and register the boosting as a candidate for the gate to judge."""
    learnt_from, judged_by = keep(training, held_out, versions)
    found = {}
    for name, one in {**simpler, "boosting": model}.items():
        with hw.start_run(MODEL, name=name) as run:
            found[name] = scores(held_out["late"].to_numpy(), probability(one, held_out))
            run.log_params({"rows": training.height, "steps": [step for step, _ in one.steps]})
            run.log_metrics(found[name])
            run.log_artifact("scores.json", found[name])
    hw.log_metrics(found["boosting"])
    hw.log_model(
        MODEL,
        model,
        training=[learnt_from],
        evaluation=judged_by,
        baselines=simpler,
        metrics=found["boosting"],
    )
    return found


def keep(training: pl.DataFrame, held_out: pl.DataFrame, versions: dict[str, str]) -> tuple[str, str]:
    """Both parts as dataset versions under one contract, which the endpoint will hold requests to as well."""
    client, tables = hw.connect(), tuple(versions.values())
    learnt_from = client.datasets.add("lateness-training", training, contract=FEATURES, came_from=tables)
    judged_by = client.datasets.add("lateness-held-out", held_out, contract=FEATURES, came_from=tables)
    return learnt_from.id, judged_by.id


@hw.pipeline
def retrain(held_out_days: int = 28, shuffle_labels: bool = False, seed: int = 0) -> Any:
    versions = ingest()
    training, held_out = split(features(versions), held_out_days)
    simpler, model = baselines(training), train(training, shuffle_labels, seed)
    return evaluate(model, simpler, training, held_out, versions)
