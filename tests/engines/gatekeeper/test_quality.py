"""Better than baselines, as good as the champion, and so in every slice: or unproven."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from headway.engines.gates.trial import Champion, Trial
from headway.engines.models.export import to_onnx
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.quality import DayLoss, QualityRule, judge_quality
from tests.engines.gatekeeper.trials import (
    DAYS,
    INPUTS,
    ROWS_A_DAY,
    START,
    dataset,
    find,
    fitted,
    version_of,
    with_held_out,
    with_model,
)


def test_a_model_that_learnt_nothing_is_not_better_than_the_baseline(sound: Trial, models: dict[str, bytes]) -> None:
    finding = find(with_model(sound, models["shuffled"]), "better-than-baseline")
    assert (finding.outcome, "it is not so: better than" in finding.reason) == (Outcome.FAIL, True)


def test_one_baseline_that_is_as_good_is_enough_to_leave_it_unproven(sound: Trial, models: dict[str, bytes]) -> None:
    trial = replace(sound, baselines={"constant": models["constant"], "same": models["same"]})
    finding = find(trial, "better-than-baseline")
    assert finding.outcome is Outcome.UNPROVEN
    assert finding.numbers["baselines"]["constant"]["high"] < 0
    assert find(sound, "better-than-baseline", margin=0.9).outcome is Outcome.FAIL


def test_a_rival_that_is_nearly_as_good_may_have_a_margin_of_its_own(sound: Trial, models: dict[str, bytes]) -> None:
    trial = replace(sound, baselines={"constant": models["constant"], "same": models["same"]})
    finding = find(trial, "better-than-baseline", margins={"same": -0.01})
    assert (finding.outcome, "no more than 0.01 worse than same" in finding.reason) == (Outcome.PASS, True)
    assert find(trial, "better-than-baseline", margins={"constant": -0.01}).outcome is Outcome.UNPROVEN
    shuffled = with_model(trial, models["shuffled"])
    assert find(shuffled, "better-than-baseline", margins={"same": -0.01}).outcome is Outcome.FAIL
    typo = find(trial, "better-than-baseline", margins={"sane": -0.01})
    assert (typo.outcome, "did you mean 'same'" in typo.reason) == (Outcome.UNPROVEN, True)


@pytest.mark.parametrize("rows", [80, 3 * ROWS_A_DAY])
def test_too_few_rows_or_days_prove_nothing(sound: Trial, held_out: pl.DataFrame, rows: int) -> None:
    finding = find(with_held_out(sound, held_out.head(rows)), "better-than-baseline")
    assert (finding.outcome, "it takes 100 on 5" in finding.reason) == (Outcome.UNPROVEN, True)


def test_without_baselines_or_labels_nothing_is_proven(
    sound: Trial, held_out: pl.DataFrame, contract: Contract
) -> None:
    assert find(replace(sound, baselines={}), "better-than-baseline").outcome is Outcome.UNPROVEN
    unlabelled = held_out.with_columns(late=pl.lit(None, pl.Int8))
    for check in ("better-than-baseline", "better-than-champion", "calibration", "leakage"):
        assert find(with_held_out(sound, unlabelled), check).outcome is Outcome.UNPROVEN
    assert find(with_held_out(sound, unlabelled), "slices", by=["shop"]).outcome is Outcome.UNPROVEN
    bare = replace(sound, held_out=dataset("later", held_out, None))
    finding = find(bare, "better-than-baseline")
    assert (finding.outcome, "which held-out column is the label" in finding.reason) == (Outcome.UNPROVEN, True)


def test_the_days_are_those_a_quality_monitor_takes(sound: Trial, held_out: pl.DataFrame) -> None:
    finding = find(sound, "better-than-baseline")
    days = msgspec.convert(finding.numbers["days"], list[DayLoss])
    labelled = held_out.filter(pl.col("late").is_not_null())
    assert [day.day for day in days] == sorted({at.date().isoformat() for at in labelled["at"]})
    assert sum(day.n for day in days) == labelled.height == finding.numbers["n"]
    assert sum(day.loss for day in days) / labelled.height == pytest.approx(finding.numbers["loss"])
    assert finding.numbers["unlabelled"] == held_out.height - labelled.height
    assert judge_quality(days[3], days, QualityRule(min_labels=20)).outcome is Outcome.PASS


def test_a_model_that_is_worse_than_what_serves_fails(sound: Trial, models: dict[str, bytes]) -> None:
    finding = find(with_model(sound, models["constant"]), "better-than-champion")
    assert (finding.outcome, finding.reason.startswith("worse than lateness@1")) == (Outcome.FAIL, True)


def test_nothing_that_serves_is_nothing_to_be_worse_than(sound: Trial) -> None:
    finding = find(replace(sound, champion=None), "better-than-champion")
    assert (finding.outcome, "nothing serves yet" in finding.reason) == (Outcome.PASS, True)


def test_as_good_as_the_champion_takes_evidence(sound: Trial, held_out: pl.DataFrame, models: dict[str, bytes]) -> None:
    assert find(sound, "better-than-champion", margin=0.0).outcome is Outcome.UNPROVEN
    few = with_held_out(sound, held_out.filter(pl.col("at") < START + timedelta(days=DAYS + 3)))
    assert find(few, "better-than-champion").outcome is Outcome.UNPROVEN


def test_a_champion_that_learnt_the_held_out_rows_does_not_condemn(sound: Trial, models: dict[str, bytes]) -> None:
    champion = version_of(models["good"], number=1, training=(sound.held_out.version.id,))
    trial = replace(with_model(sound, models["constant"]), champion=Champion(champion, models["good"]))
    finding = find(trial, "better-than-champion")
    assert (finding.outcome, "learnt from these very rows" in finding.reason) == (Outcome.UNPROVEN, True)


def turned_in_the_west(training: pl.DataFrame) -> bytes:
    """A model that is right on average and says the opposite for one slice."""
    known = training.filter(pl.col("late").is_not_null())
    turned = known.with_columns(late=pl.when(pl.col("shop") == "west").then(1 - pl.col("late")).otherwise("late"))
    model = fitted(HistGradientBoostingClassifier(max_iter=40), known, labels=turned["late"].to_numpy())
    return to_onnx(model, training.select(INPUTS))


def test_a_slice_that_is_worse_fails_though_the_average_is_better(sound: Trial, training: pl.DataFrame) -> None:
    trial = with_model(sound, turned_in_the_west(training))
    assert find(trial, "better-than-baseline").outcome is Outcome.PASS
    finding = find(trial, "slices", by=["shop"])
    assert (finding.outcome, "shop=west: worse" in finding.reason) == (Outcome.FAIL, True)
    assert {one["slice"]: one["outcome"] for one in finding.numbers["slices"]["shop"]} == {
        "north": "pass", "south": "pass", "west": "fail",
    }  # fmt: skip
    worst = finding.numbers["slices"]["shop"][-1]
    west = (trial.labelled["shop"] == "west").to_numpy()
    assert worst["loss"] == pytest.approx(float(trial.losses[west].mean()))
    assert worst["n"] == west.sum()


def test_slices_with_too_little_data_are_named_and_do_not_pass(sound: Trial) -> None:
    finding = find(sound, "slices", by=["shop"], min_rows=500)
    assert finding.outcome is Outcome.PASS
    assert "1 of 3 slices unproven: shop=west (n=" in finding.reason
    finding = find(sound, "slices", by=["shop"], min_rows=750)
    assert (finding.outcome, "of which nothing is shown" in finding.reason) == (Outcome.UNPROVEN, True)
    assert find(sound, "slices", by=["shop"], min_rows=750, max_unproven_share=1).outcome is Outcome.PASS


def test_numbers_are_sliced_in_quarters_and_missing_values_apart(sound: Trial, held_out: pl.DataFrame) -> None:
    distances = np.random.default_rng(6).random(held_out.height)
    distances[::5] = np.nan
    trial = with_held_out(sound, held_out.with_columns(distance=pl.Series(distances)))
    found = find(trial, "slices", by=["distance"]).numbers["slices"]["distance"]
    assert [one["slice"] for one in found].count("missing") == 1
    assert len(found) == 5
    assert sum(one["n"] for one in found) == len(trial.truth)
    assert max(one["n"] for one in found) - min(one["n"] for one in found) < 40
    unknown = find(sound, "slices", by=["shops"])
    assert (unknown.outcome, "did you mean 'shop'" in unknown.reason) == (Outcome.UNPROVEN, True)
