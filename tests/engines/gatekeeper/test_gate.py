"""A sound model passes every check; what a gate asks for is measured, and nonsense refused."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

from headway.engines.gates.gatekeeper import BUILT_IN, Measured, measure
from headway.engines.gates.trial import Trial
from headway.engines.models.export import parity, to_onnx
from headway.engines.models.opening import opener
from headway.engines.tables.contracts import infer_contract
from headway.errors import BadSettings
from headway.kernel.records import digest
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.check import Check, Subject
from headway.lifecycle.gates.names import CHECKS
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.models.origins import Origins, Tagged
from headway.lifecycle.models.records import Form, PythonRuntime, Task
from tests.engines.gatekeeper.trials import (
    INPUTS,
    dataset,
    find,
    fitted,
    version_of,
    with_held_out,
)

PII = Tagged(tag="pii", dataset="people@1", column="income")


def test_a_sound_model_passes_every_check(sound: Trial) -> None:
    needed = {"slices": {"by": ["shop", "load"]}, "tags": {"banned": ["pii"]}}
    gate = [CheckSpec(check=name, settings=needed.get(name, {})) for name in CHECKS]
    measured = measure(sound, [spec if spec.check != "calibration" else calibrated() for spec in gate])
    assert {name: finding.outcome for name, finding in measured.findings.items()} == dict.fromkeys(CHECKS, Outcome.PASS)
    assert measured.inputs["leakage"] == {
        "model": sound.version.blob,
        "held_out": sound.held_out.version.id,
        "training training@1": sound.training[0].version.id,
    }
    assert measured.inputs["slices"]["baseline constant"] == digest(sound.baselines["constant"])
    assert measured.inputs["better-than-champion"]["champion"] == sound.champion.version.id  # type: ignore[union-attr]
    assert CHECKS.keys() == BUILT_IN.keys()


@pytest.mark.parametrize(
    ("origins", "outcome", "told"),
    [
        (None, Outcome.UNPROVEN, "not known which data"),
        (Origins(datasets=("dv_1",), tags=(), complete=False), Outcome.UNPROVEN, "not known which data"),
        (Origins(datasets=(), tags=(), complete=True), Outcome.UNPROVEN, "names no data"),
        (Origins(datasets=("dv_1",), tags=(PII,), complete=True), Outcome.FAIL, "people@1 income bears 'pii'"),
        (Origins(datasets=("dv_1",), tags=(PII.but(tag="piii"),), complete=True), Outcome.PASS, "none of the 1"),
    ],
)
def test_data_that_are_not_known_prove_nothing(
    sound: Trial, origins: Origins | None, outcome: Outcome, told: str
) -> None:
    spec = CheckSpec(check="tags", settings={"banned": ["pii"]})
    found = measure(replace(sound, origins=origins), [spec]).findings["tags"]
    assert (found.outcome, told in found.reason) == (outcome, True)


def calibrated() -> CheckSpec:
    return CheckSpec(check="calibration", settings={"max_ece": 0.1})


def test_everything_that_is_scored_is_scored_once(sound: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = replace(sound)
    asked: list[int] = []
    model = trial.model
    score = model.score

    def counted(frame: pl.DataFrame) -> Any:
        asked.append(frame.height)
        return score(frame)

    monkeypatch.setattr(model, "score", counted)
    measure(trial, [CheckSpec(check=name) for name in ("parity", "calibration", "better-than-baseline", "leakage")])
    assert asked == [trial.held_out.frame.height]


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (CheckSpec(check="sliced"), "did you mean 'slices'"),
        (CheckSpec(check="leakage", settings={"max_auk": 0.9}), "did you mean 'max_auc'"),
        (CheckSpec(check="slices"), "by"),
        (CheckSpec(check="slices", settings={"by": []}), "by"),
        (CheckSpec(check="latency", settings={"budget_us": -1}), "budget_us"),
        (CheckSpec(check="calibration", settings={"max_ece": "small"}), "max_ece"),
    ],
)
def test_a_gate_that_asks_for_nonsense_is_refused(sound: Trial, gate: CheckSpec, message: str) -> None:
    with pytest.raises(BadSettings, match=message):
        measure(sound, [gate])


def test_a_lock_whose_environment_is_missing_is_told_by_every_check_that_runs_the_model(
    sound: Trial, tmp_path: Path
) -> None:
    locked = sound.version.but(form=Form.MLFLOW, lock=digest(b"numpy==2.4.6"))
    own = {"own": Check(lambda subject: True, name="own")}
    with ExitStack() as open_until:
        opened = opener({}.__getitem__, PythonRuntime(), tmp_path, open_until)
        gate = [CheckSpec(check=name) for name in ("parity", "latency", "better-than-baseline", "own")]
        found = measure(replace(sound, version=locked, opened=opened), gate, own).findings
    told = "the environment of lateness@2 is not on this machine; `headway model prepare lateness@2` makes it"
    assert {(each.outcome, each.reason) for each in found.values()} == {(Outcome.UNPROVEN, told)}


def test_a_check_of_the_project_gets_all_rows_with_scores_and_labels(sound: Trial, held_out: pl.DataFrame) -> None:
    def not_extreme(subject: Subject, highest: float = 1.0) -> bool:
        "No score is above `highest`."
        assert (subject.version, subject.frame.height) == (sound.version, held_out.height)
        assert np.isnan(subject.labels).sum() == held_out["late"].null_count()
        return bool(subject.scores.max() <= highest)

    def stops(subject: Subject) -> bool:
        raise ZeroDivisionError("no rows")

    checks = {"not_extreme": Check(not_extreme), "stops": Check(stops)}
    measured: Measured = measure(sound, [CheckSpec(check="not_extreme"), CheckSpec(check="stops")], checks)
    assert {name: finding.outcome for name, finding in measured.findings.items()} == {
        "not_extreme": Outcome.PASS, "stops": Outcome.UNPROVEN,
    }  # fmt: skip
    assert "ZeroDivisionError" in measured.findings["stops"].reason
    low = measure(sound, [CheckSpec(check="not_extreme", settings={"highest": 0.1})], checks)
    assert low.findings["not_extreme"].outcome is Outcome.FAIL
    broken = measure(replace(sound, onnx=b"x"), [CheckSpec(check="not_extreme")], checks)
    assert broken.findings["not_extreme"].outcome is Outcome.UNPROVEN


def test_a_regression_is_judged_by_the_same_checks(
    sound: Trial, training: pl.DataFrame, held_out: pl.DataFrame, contract: Contract
) -> None:
    def in_minutes(frame: pl.DataFrame) -> pl.DataFrame:
        noise = np.random.default_rng(5).normal(size=frame.height)
        return frame.with_columns(late=pl.col("load") * 10 + pl.col("weight") + noise)

    train, later = in_minutes(training), in_minutes(held_out)
    rules = infer_contract(train, label="late", time="at", key="order")
    good = to_onnx(fitted(Ridge(), train), train.select(INPUTS))
    flat = to_onnx(fitted(Ridge(alpha=1e12), train), train.select(INPUTS))
    trial = Trial(
        version=version_of(good, task=Task.REGRESSION, parity=parity(fitted(Ridge(), train), good, later)),
        onnx=good, held_out=dataset("later", later, rules), training=(dataset("training", train, rules),),
        baselines={"constant": flat},
    )  # fmt: skip
    for check in ("contract", "leakage", "better-than-baseline", "parity"):
        assert find(trial, check).outcome is Outcome.PASS, check
    telling = later.with_columns(weight=(pl.col("late") ** 3).cast(pl.Float32))
    assert "rank correlation 1.000" in find(with_held_out(trial, telling), "leakage").reason
