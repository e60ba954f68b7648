"""The served form answers as it should, soon enough, and as often right as it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

from headway.engines.gates.checks.calibration import expected_calibration_error
from headway.engines.gates.trial import Trial
from headway.kernel.records import digest
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.models.records import Task
from tests.engines.gatekeeper.trials import (
    find,
    with_held_out,
    with_model,
)


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
