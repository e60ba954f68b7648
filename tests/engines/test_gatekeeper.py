"""Each check passes a sound model, catches the fault that it is there for, and is unproven where nothing is shown."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from headway.engines.checks.calibration import expected_calibration_error
from headway.engines.checks.separation import separation
from headway.engines.contracts import infer_contract
from headway.engines.export import parity, signature_of, to_onnx
from headway.engines.gatekeeper import BUILT_IN, Measured, measure
from headway.engines.trial import Champion, Table, Trial
from headway.errors import BadSettings, Invalid
from headway.kernel.records import digest, encode
from headway.lifecycle.datasets.contract import Contract, Use
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.check import Check, Subject
from headway.lifecycle.gates.names import CHECKS
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.models.records import Baseline, ModelVersion, Task
from headway.lifecycle.monitors.quality import DayLoss, QualityRule, judge_quality

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, ROWS_A_DAY = 30, 60
INPUTS = ["load", "shop", "weight"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


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


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return table(1, 0)


@pytest.fixture(scope="module")
def held_out() -> pl.DataFrame:
    return table(2, DAYS)


@pytest.fixture(scope="module")
def contract(training: pl.DataFrame) -> Contract:
    return infer_contract(training, label="late", time="at", key="order")


@pytest.fixture(scope="module")
def models(training: pl.DataFrame) -> dict[str, bytes]:
    """Estimators by name in their served form."""
    known = training.filter(pl.col("late").is_not_null())
    shuffled = np.random.default_rng(0).permutation(known["late"].to_numpy())
    boosting = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=31, learning_rate=0.3)
    made = {
        "good": fitted(LogisticRegression(), training),
        "same": fitted(LogisticRegression(C=0.9), training),
        "constant": fitted(LogisticRegression(C=1e-12), training),
        "shuffled": fitted(boosting, training, labels=shuffled),
    }
    return {name: to_onnx(estimator, training.select(INPUTS)) for name, estimator in made.items()}


@pytest.fixture(scope="module")
def sound(models: dict[str, bytes], training: pl.DataFrame, held_out: pl.DataFrame, contract: Contract) -> Trial:
    """A good model with all that a gate may ask for."""
    proof = parity(fitted(LogisticRegression(), training), models["good"], held_out)
    return Trial(
        version=version_of(models["good"], parity=proof, baselines=(Baseline(name="constant", blob="b3:0"),)),
        onnx=models["good"],
        held_out=dataset("later", held_out, contract),
        training=(dataset("training", training, contract),),
        baselines={"constant": models["constant"]},
        champion=Champion(version_of(models["same"], number=1), models["same"]),
    )


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


def test_a_sound_model_passes_every_check(sound: Trial) -> None:
    gate = [CheckSpec(check=name, settings={"by": ["shop", "load"]} if name == "slices" else {}) for name in CHECKS]
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


# contract


def test_broken_data_break_the_contract(sound: Trial, held_out: pl.DataFrame) -> None:
    finding = find(with_held_out(sound, held_out.with_columns(pl.col("load") * 100)), "contract")
    assert (finding.outcome, "column 'load' breaks rule" in finding.reason) == (Outcome.FAIL, True)


def test_a_model_of_what_is_no_feature_fails_the_contract(sound: Trial, contract: Contract) -> None:
    rules = tuple(rule.but(use=Use.OTHER) if rule.name == "weight" else rule for rule in contract.columns)
    other = replace(sound, held_out=dataset("later", sound.held_out.frame, contract.but(columns=rules)))
    finding = find(other, "contract")
    assert (finding.outcome, finding.numbers["not_features"]) == (Outcome.FAIL, ["weight"])


def test_without_a_contract_nothing_is_proven(sound: Trial, training: pl.DataFrame) -> None:
    finding = find(replace(sound, training=(dataset("training", training, None),)), "contract")
    assert (finding.outcome, "training@1" in finding.reason) == (Outcome.UNPROVEN, True)


# leakage


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


# better-than-baseline


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


# better-than-champion


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


# slices


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


# parity


def test_what_is_served_must_be_what_was_trained(sound: Trial, models: dict[str, bytes]) -> None:
    version = sound.version
    assert version.parity is not None
    off = replace(sound, version=version.but(parity=version.parity.but(max_difference=0.3)))
    assert find(off, "parity").outcome is Outcome.FAIL
    lenient = version.parity.but(max_difference=0.3, tolerance=1.0)
    assert find(replace(sound, version=version.but(parity=lenient)), "parity").outcome is Outcome.FAIL
    few = find(replace(sound, version=version.but(parity=version.parity.but(rows=99))), "parity")
    assert (few.outcome, "on 99 rows; it takes 100" in few.reason) == (Outcome.UNPROVEN, True)
    other_bytes = replace(sound, onnx=models["shuffled"])
    assert "not those of the model version" in find(other_bytes, "parity").reason
    signature = version.signature.but(inputs=version.signature.inputs[:-1])
    assert "another signature" in find(replace(sound, version=version.but(signature=signature)), "parity").reason
    unproven = find(replace(sound, version=version.but(parity=None)), "parity")
    assert (unproven.outcome, "nobody compared" in unproven.reason) == (Outcome.UNPROVEN, True)


def test_scores_that_are_not_finite_or_no_probability_break_parity(sound: Trial) -> None:
    strange = with_model(sound, graph([helper.make_node("Log", ["load"], ["score"])]))
    assert "a score that is not finite" in find(strange, "parity").reason
    outside = with_model(sound, graph([helper.make_node("Neg", ["load"], ["score"])]))
    assert "no probability" in find(outside, "parity").reason
    broken = replace(sound, version=sound.version.but(blob=digest(b"x")), onnx=b"x")
    assert "does not load" in find(broken, "parity").reason


def graph(nodes: list[onnx.NodeProto], *constants: onnx.TensorProto) -> bytes:
    """A model of the input `load` [rows, 1] and the output `score` [rows, 1]."""
    made = helper.make_graph(
        nodes, "made", [helper.make_tensor_value_info("load", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])], list(constants),
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


# latency


def slow_model() -> bytes:
    """Multiplies 1 x 700 x 700 matrices twenty times for one row."""
    square = numpy_helper.from_array(np.full((700, 700), 1e-3, dtype=np.float32), "square")
    wide = numpy_helper.from_array(np.ones((1, 700), dtype=np.float32), "wide")
    narrow = numpy_helper.from_array(np.full((700, 1), 1e-9, dtype=np.float32), "narrow")
    nodes = [helper.make_node("MatMul", ["load", "wide"], ["x0"])]
    nodes += [helper.make_node("MatMul", [f"x{at}", "square"], [f"x{at + 1}"]) for at in range(20)]
    nodes += [
        helper.make_node("MatMul", ["x20", "narrow"], ["y"]),
        helper.make_node("Sigmoid", ["y"], ["score"]),
    ]
    return graph(nodes, square, wide, narrow)


def test_a_slow_model_is_over_its_budget(sound: Trial) -> None:
    slow = with_model(sound, slow_model())
    finding = find(slow, "latency", budget_us=400, rows=400)
    assert finding.outcome is Outcome.FAIL
    assert finding.numbers["p50_us"] > 400 > find(sound, "latency", budget_us=400).numbers["p50_us"]


def ticking(steps_us: list[int]) -> Callable[[], int]:
    """A timer by which the runs take `steps_us` in turn."""
    now, calls = 0, 0

    def timer_ns() -> int:
        nonlocal now, calls
        now += steps_us[calls // 2 % len(steps_us)] * 1000 * (calls % 2)
        calls += 1
        return now

    return timer_ns


@pytest.mark.parametrize(("slow_rows", "outcome"), [(0, Outcome.PASS), (4, Outcome.UNPROVEN), (20, Outcome.FAIL)])
def test_a_hundredth_may_be_slow_and_near_it_nothing_is_shown(sound: Trial, slow_rows: int, outcome: Outcome) -> None:
    steps = [50] * 3 * 20 + [900] * 3 * slow_rows + [50] * 3 * (500 - slow_rows)
    finding = find(replace(sound, timer_ns=ticking(steps)), "latency", budget_us=100)
    assert (finding.outcome, finding.numbers["slow"], finding.numbers["p50_us"]) == (outcome, slow_rows, 50)


def test_what_slows_one_try_of_three_does_not_count(sound: Trial) -> None:
    finding = find(replace(sound, timer_ns=ticking([50, 900, 900])), "latency", budget_us=100)
    assert (finding.outcome, finding.numbers["slow"]) == (Outcome.PASS, 0)


# calibration


def test_a_model_that_is_far_too_sure_is_not_calibrated(sound: Trial, training: pl.DataFrame) -> None:
    ten = numpy_helper.from_array(np.array([10], dtype=np.float32), "ten")
    sure = graph([helper.make_node("Mul", ["load", "ten"], ["x"]), helper.make_node("Sigmoid", ["x"], ["score"])], ten)
    finding = find(with_model(sound, sure), "calibration")
    assert (finding.outcome, finding.numbers["low"] > 0.05) == (Outcome.FAIL, True)
    assert sum(one["n"] for one in finding.numbers["bins"]) == finding.numbers["n"]


def test_calibration_is_unproven_for_few_rows_and_for_regressions(sound: Trial, held_out: pl.DataFrame) -> None:
    assert find(with_held_out(sound, held_out.head(400)), "calibration").outcome is Outcome.UNPROVEN
    regression = replace(sound, version=sound.version.but(task=Task.REGRESSION))
    assert find(regression, "calibration").outcome is Outcome.UNPROVEN
    assert find(sound, "calibration", max_ece=0.02).outcome is Outcome.UNPROVEN


@pytest.mark.parametrize(("gap", "spread"), [(0.15, 0.0), (0.0, 0.0), (0.15, 0.1)])
def test_the_calibration_interval_holds_the_truth_as_often_as_it_says(gap: float, spread: float) -> None:
    """A third of the scores is off by `gap`; days stray by `spread`."""
    random = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        scores, days = random.choice([0.1, 0.4, 0.8], 3000), np.arange(3000) % 40
        chance = scores + np.where(scores == 0.4, gap, 0) + random.normal(scale=spread, size=40)[days]
        truth = (random.random(3000) < chance).astype(np.float64)
        bins = np.searchsorted([0.2, 0.6], scores)
        _, interval = expected_calibration_error(scores, truth, bins, days)
        held += interval.holds(gap / 3)
    assert held >= 0.92 * 200


# checks of the project


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
