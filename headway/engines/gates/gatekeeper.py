"""Measures what a gate demands of a model version. What it finds is handed to `gates.judge`, which decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from headway.engines.gates.checks import calibration, data, quality, serving, slices
from headway.engines.gates.trial import Trial
from headway.errors import HeadwayError
from headway.kernel.records import digest
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates import names
from headway.lifecycle.gates.check import Check
from headway.lifecycle.gates.names import settings_of
from headway.lifecycle.gates.records import Finding, Outcome


class Measured(NamedTuple):
    """By check: what it found, and the ids and digests of what it looked at."""

    findings: dict[str, Finding]
    inputs: dict[str, dict[str, str]]


class BuiltIn(NamedTuple):
    """A check of the platform. Beside the model and the held-out data, it looks at what is named."""

    function: Callable[[Trial, Any], Finding]
    looks_at: tuple[str, ...] = ()


_TRAINING, _BASELINES, _CHAMPION = "training", "baselines", "champion"
BUILT_IN: Mapping[str, BuiltIn] = {
    names.CONTRACT: BuiltIn(data.contract, (_TRAINING,)),
    names.LEAKAGE: BuiltIn(data.leakage, (_TRAINING,)),
    names.BETTER_THAN_BASELINE: BuiltIn(quality.better_than_baseline, (_BASELINES,)),
    names.BETTER_THAN_CHAMPION: BuiltIn(quality.better_than_champion, (_CHAMPION,)),
    names.SLICES: BuiltIn(slices.by_slice, (_BASELINES,)),
    names.PARITY: BuiltIn(serving.parity),
    names.LATENCY: BuiltIn(serving.latency),
    names.CALIBRATION: BuiltIn(calibration.calibration),
    names.TAGS: BuiltIn(data.tags, (_TRAINING,)),
}


def measure(trial: Trial, gate: Sequence[CheckSpec], checks: Mapping[str, Check] | None = None) -> Measured:
    """One finding for each check of `gate`; `checks` are the project's own, by name, and go before built-in ones.

    A check that stops is unproven and says why. Raises `BadSettings`, before anything is measured, for a check or a
    setting that does not exist.
    """
    own = checks or {}
    settings = [settings_of(spec, own) for spec in gate]
    findings, inputs = {}, {}
    for spec, known in zip(gate, settings, strict=True):
        if spec.check in own:
            findings[spec.check] = _own(own[spec.check], trial, spec.settings)
            inputs[spec.check] = _inputs(trial, ())
        else:
            findings[spec.check] = _built_in(BUILT_IN[spec.check], trial, known)
            inputs[spec.check] = _inputs(trial, BUILT_IN[spec.check].looks_at)
    return Measured(findings, inputs)


def _built_in(check: BuiltIn, trial: Trial, settings: Any) -> Finding:
    try:
        return check.function(trial, settings)
    except HeadwayError as error:
        return Finding(outcome=Outcome.UNPROVEN, reason=str(error))
    except Exception as error:  # a check that stops has shown nothing, whatever stopped it
        return Finding(outcome=Outcome.UNPROVEN, reason=f"it stopped with {type(error).__name__}: {error}"[:500])


def _own(check: Check, trial: Trial, settings: Mapping[str, Any]) -> Finding:
    try:
        subject = trial.subject
    except HeadwayError as error:
        return Finding(outcome=Outcome.UNPROVEN, reason=str(error))
    return check.judge(subject, settings)


def _inputs(trial: Trial, looks_at: Sequence[str]) -> dict[str, str]:
    inputs = {"model": digest(trial.onnx), "held_out": trial.held_out.version.id}
    if _TRAINING in looks_at:
        inputs |= {f"training {table.version.label}": table.version.id for table in trial.training}
    if _BASELINES in looks_at:
        inputs |= {f"baseline {name}": digest(onnx) for name, onnx in trial.baselines.items()}
    if _CHAMPION in looks_at and trial.champion:
        inputs["champion"] = trial.champion.version.id
    return inputs
