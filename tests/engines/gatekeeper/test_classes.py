"""Gates on a model of several classes: the same checks, by the loss over all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from headway.engines.gates.trial import Champion, Trial
from headway.engines.models.export import parity, to_onnx
from headway.engines.tables.contracts import infer_contract
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.models.records import Baseline, Task
from tests.engines.gatekeeper.trials import DAYS, START, dataset, find, version_of

INPUTS = ["far", "fare"]
CLASSES = ("bus", "car", "train")


def trips(seed: int, first_day: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    rows = DAYS * 60
    far, fare = random.normal(size=rows).astype(np.float32), random.normal(size=rows).astype(np.float32)
    pull = np.stack([-far, fare, far - fare], axis=1) * 2 + random.gumbel(size=(rows, 3))
    days = np.repeat(np.arange(first_day, first_day + DAYS), 60)
    return pl.DataFrame(
        {
            "trip": [f"{seed}-{place}" for place in range(rows)],
            "at": [START + timedelta(days=int(day), minutes=place % 1440) for place, day in enumerate(days)],
            "far": far,
            "fare": fare,
            "way": np.array(CLASSES)[pull.argmax(axis=1)],
        }
    )


@pytest.fixture(scope="module")
def trial() -> Trial:
    training, held_out = trips(1, 0), trips(2, DAYS)
    contract = infer_contract(training, label="way", time="at", key="trip")
    good = LogisticRegression().fit(training.select(INPUTS), training["way"].to_numpy())
    flat = LogisticRegression(C=1e-9).fit(training.select(INPUTS), training["way"].to_numpy())
    served, constant = to_onnx(good, training.select(INPUTS)), to_onnx(flat, training.select(INPUTS))
    return Trial(
        version=version_of(
            served, parity=parity(good, served, held_out), task=Task.MULTICLASS,
            baselines=(Baseline(name="constant", blob="b3:0"),),
        ),
        onnx=served,
        held_out=dataset("later", held_out, contract),
        training=(dataset("training", training, contract),),
        baselines={"constant": constant},
        champion=Champion(version_of(served, number=1, task=Task.MULTICLASS), served),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("check", "settings"),
    [
        ("contract", {}), ("leakage", {}), ("better-than-baseline", {}), ("better-than-champion", {}),
        ("slices", {"by": ["far"]}), ("parity", {}), ("calibration", {"max_ece": 0.08}),
    ],
)  # fmt: skip
def test_a_good_model_passes(trial: Trial, check: str, settings: dict[str, object]) -> None:
    found = find(trial, check, **settings)
    assert found.outcome is Outcome.PASS, found.reason


def test_what_is_told_of_it(trial: Trial) -> None:
    numbers = find(trial, "better-than-baseline").numbers
    chances = trial.model.score(trial.held_out.frame)
    truth = np.array([CLASSES.index(each) for each in trial.held_out.frame["way"]])
    assert numbers["accuracy"] == pytest.approx((chances.argmax(axis=1) == truth).mean())
    assert numbers["log_loss"] == pytest.approx(-np.log(chances[np.arange(len(truth)), truth]).mean(), abs=1e-6)
    assert sum(map(sum, numbers["predicted"].values())) == len(truth)
    assert len(numbers["predicted"]) == DAYS


def test_classes_are_found_by_name_in_the_baseline_too(trial: Trial) -> None:
    """A baseline whose classes stand in another order is judged as well as one of the same order."""
    frame = trips(1, 0)
    renamed = frame["way"].replace({"bus": "x-bus", "car": "car", "train": "a-train"}).to_numpy()
    flipped = LogisticRegression().fit(frame.select(INPUTS), renamed)
    assert flipped.classes_.tolist() == ["a-train", "car", "x-bus"]
    flipped.classes_ = np.array(["train", "car", "bus"])
    other = replace(trial, baselines={"constant": to_onnx(flipped, frame.select(INPUTS))})
    compared = find(other, "better-than-baseline").numbers["baselines"]["constant"]
    assert compared["difference"] == pytest.approx(0, abs=1e-6)


def test_a_leak_into_one_class_is_found(trial: Trial) -> None:
    frame = trial.held_out.frame
    telling = frame.with_columns(
        (pl.col("far") * 0 + (pl.col("way") == "car").cast(pl.Float32)).alias("far")
    )  # fmt: skip
    found = find(replace(trial, held_out=dataset("later", telling, trial.contract)), "leakage")
    assert found.outcome is Outcome.FAIL
    assert "'far' alone tells the label" in found.reason


def test_an_unknown_class_counts_as_wrong(trial: Trial) -> None:
    strange = trial.held_out.frame.with_columns(pl.lit("ferry").alias("way"))
    found = find(replace(trial, held_out=dataset("later", strange, trial.contract)), "better-than-baseline")
    assert found.numbers["unknown_classes"] == strange.height
    assert found.numbers["accuracy"] == 0
