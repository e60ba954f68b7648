"""The data's own checks: is the contract kept, and does anything tell the model the answer?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from headway.engines.gates.checks.separation import separation
from headway.engines.gates.trial import Trial
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import Contract, Use, WhenSkewed
from headway.lifecycle.gates.records import Outcome
from tests.engines.gatekeeper.trials import (
    DAYS,
    dataset,
    find,
    table,
    with_held_out,
)


def test_broken_data_break_the_contract(sound: Trial, held_out: pl.DataFrame) -> None:
    finding = find(with_held_out(sound, held_out.with_columns(pl.col("load") * 100)), "contract")
    assert (finding.outcome, "column 'load' breaks rule" in finding.reason) == (Outcome.FAIL, True)


@pytest.mark.parametrize("when_skewed", [WhenSkewed.WARN, WhenSkewed.CHANGE])
def test_values_that_are_let_pass_are_told_and_stop_nothing(
    sound: Trial, held_out: pl.DataFrame, when_skewed: WhenSkewed
) -> None:
    assert sound.contract is not None
    skewed = with_held_out(sound, held_out.with_columns(pl.col("load") * 100))
    lenient = replace(
        skewed, held_out=dataset("later", skewed.held_out.frame, sound.contract.but(when_skewed=when_skewed))
    )
    finding = find(lenient, "contract")
    assert (finding.outcome, finding.numbers["violations"]) == (Outcome.PASS, [])
    assert "column 'load' breaks rule" in finding.reason
    without = replace(lenient, held_out=dataset("later", held_out.drop("load"), lenient.contract))
    assert find(without, "contract").outcome is Outcome.FAIL


def test_a_model_of_what_is_no_feature_fails_the_contract(sound: Trial, contract: Contract) -> None:
    rules = tuple(rule.but(use=Use.OTHER) if rule.name == "weight" else rule for rule in contract.columns)
    other = replace(sound, held_out=dataset("later", sound.held_out.frame, contract.but(columns=rules)))
    finding = find(other, "contract")
    assert (finding.outcome, finding.numbers["not_features"]) == (Outcome.FAIL, ["weight"])


def test_without_a_contract_nothing_is_proven(sound: Trial, training: pl.DataFrame) -> None:
    finding = find(replace(sound, training=(dataset("training", training, None),)), "contract")
    assert (finding.outcome, "training@1" in finding.reason) == (Outcome.UNPROVEN, True)


def leaky(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    told = pl.col("late").fill_null(0)
    return frame.with_columns({
        "number": (told + pl.col("weight") * 0.01).cast(pl.Float32).alias("weight"),
        "falling number": (-told + pl.col("weight") * 0.01).cast(pl.Float32).alias("weight"),
        "text": pl.format("{}{}", pl.when(told == 1).then(pl.lit("late")).otherwise(pl.lit("fine")),
                          pl.int_range(pl.len()) % 5).alias("shop"),
        "missing": pl.when(told == 0).then("weight").alias("weight"),
    }[kind])  # fmt: skip


@pytest.mark.parametrize("kind", ["number", "falling number", "text", "missing"])
def test_a_column_that_tells_the_label_is_a_leak(sound: Trial, held_out: pl.DataFrame, kind: str) -> None:
    finding = find(with_held_out(sound, leaky(held_out, kind)), "leakage")
    column = "shop" if kind == "text" else "weight"
    assert (finding.outcome, f"'{column}' alone tells the label" in finding.reason) == (Outcome.FAIL, True)


def test_a_column_of_names_is_no_leak() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 2, 1000).astype(np.float64)
    names = pl.Series("name", [f"n{place}" for place in range(1000)])
    assert separation(names, truth, binary=True) < 0.6
    assert separation(pl.Series("x", truth * 3 + 1), truth, binary=False) == pytest.approx(1)
    assert separation(pl.Series("x", random.normal(size=1000)), truth * 2.5, binary=False) < 0.2
    with pytest.raises(Invalid, match="19 rows of each label"):
        separation(pl.Series("x", np.arange(1000)), np.repeat([1.0, 0.0], [19, 981]), binary=True)


def test_a_model_of_a_banned_column_leaks(sound: Trial, contract: Contract) -> None:
    rules = tuple(rule.but(use=Use.BANNED) if rule.name == "weight" else rule for rule in contract.columns)
    other = replace(sound, held_out=dataset("later", sound.held_out.frame, contract.but(columns=rules)))
    finding = find(other, "leakage")
    assert (finding.outcome, "'weight', which is a banned column" in finding.reason) == (Outcome.FAIL, True)


def test_held_out_rows_must_come_after_training(sound: Trial, contract: Contract) -> None:
    finding = find(with_held_out(sound, table(9, DAYS - 5)), "leakage")
    assert (finding.outcome, "hold out later rows" in finding.reason) == (Outcome.FAIL, True)


def test_held_out_rows_must_not_have_been_learnt(
    sound: Trial, training: pl.DataFrame, held_out: pl.DataFrame, contract: Contract
) -> None:
    again = held_out.with_columns(order=pl.concat([training["order"].head(1), held_out["order"].tail(-1)]))
    finding = find(with_held_out(sound, again), "leakage")
    assert (finding.outcome, finding.reason) == (Outcome.FAIL, "1 of 1800 held-out rows are in the training data")
    without_key = tuple(rule.but(use=Use.OTHER) if rule.name == "order" else rule for rule in contract.columns)
    mixed = pl.concat([held_out, training.head(100).with_columns(pl.col("at") + timedelta(days=0))])
    other = replace(sound, held_out=dataset("later", mixed, contract.but(columns=without_key)))
    assert "100 of 1900 held-out rows are in the training data" in find(other, "leakage").reason
    assert "are in the training data" not in find(other, "leakage", max_shared=0.1).reason


def test_leakage_is_unproven_without_the_training_data_or_with_few_labels(sound: Trial, held_out: pl.DataFrame) -> None:
    finding = find(replace(sound, training=()), "leakage")
    assert (finding.outcome, "not at hand" in finding.reason) == (Outcome.UNPROVEN, True)
    few = find(with_held_out(sound, held_out.head(30)), "leakage")
    assert (few.outcome, "rows of each label" in few.reason) == (Outcome.UNPROVEN, True)
