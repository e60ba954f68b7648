"""Checks of quality on held-out rows, against baselines and against what serves now.

Both models are judged on the same rows; uncertainty is taken between days, since rows of one day resemble each other.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from headway.engines.gates.trial import NO_DAY, Trial
from headway.errors import Invalid
from headway.kernel.naming import nearest
from headway.lifecycle.gates import statistics
from headway.lifecycle.gates.names import BaselineSettings, ChampionSettings
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.gates.statistics import Comparison, holm, paired_difference
from headway.lifecycle.models.records import Task
from headway.lifecycle.monitors.quality import DayLoss


def better_than_baseline(trial: Trial, settings: BaselineSettings) -> Finding:
    """Every baseline must be beaten, which needs no correction (an intersection-union test); to fail, one that is shown
    not to be beaten is enough, so those p values are adjusted (Holm)."""
    if not trial.baselines:
        reason = "no baseline was logged with this version; log a constant and a simple model as baselines"
        return Finding(outcome=Outcome.UNPROVEN, reason=reason)
    numbers = _held_out(trial)
    if few := too_few(trial, settings.min_rows, settings.min_days):
        return Finding(outcome=Outcome.UNPROVEN, reason=few, numbers=numbers)
    found = {
        name: paired_difference(trial.losses, losses, settings.alpha, trial.days)
        for name, losses in trial.baseline_losses.items()
    }
    margins = _margins(settings, list(found))
    not_better = dict(zip(found, holm([one.p_above(-margins[name]) for name, one in found.items()]), strict=True))
    numbers["baselines"] = {
        name: {
            "loss": _mean(trial.baseline_losses[name]),
            "margin": margins[name],
            "p_not_better": not_better[name],
            **plain(one),
        }
        for name, one in found.items()
    }
    told = "; ".join(f"{_goal(name, margins[name])} {said(one)}" for name, one in found.items())
    if all(one.interval.high < -margins[name] for name, one in found.items()):
        return Finding(outcome=Outcome.PASS, reason=told, numbers=numbers)
    if min(not_better.values()) <= settings.alpha / 2:
        return Finding(outcome=Outcome.FAIL, reason=f"it is not so: {told}", numbers=numbers)
    reason = f"not shown: {told}"
    return Finding(outcome=Outcome.UNPROVEN, reason=reason, numbers=numbers)


def _margins(settings: BaselineSettings, baselines: list[str]) -> dict[str, float]:
    for name in settings.margins:
        if name not in baselines:
            there = ", ".join(baselines)
            raise Invalid(
                f"margins names no baseline of this version: {name!r}{nearest(name, baselines)}; it has {there}"
            )
    return {name: settings.margins.get(name, settings.margin) for name in baselines}


def _goal(name: str, margin: float) -> str:
    if margin < 0:
        return f"no more than {-margin:g} worse than {name}:"
    return f"better than {name}{f' by more than {margin:g}' if margin else ''}:"


def better_than_champion(trial: Trial, settings: ChampionSettings) -> Finding:
    if trial.champion is None:
        return Finding(outcome=Outcome.PASS, reason="nothing serves yet, so there is nothing to be worse than")
    numbers = _held_out(trial)
    champion = trial.champion.version
    numbers["champion"] = champion.label
    if few := too_few(trial, settings.min_rows, settings.min_days):
        return Finding(outcome=Outcome.UNPROVEN, reason=few, numbers=numbers)
    losses = trial.losses_of(trial.opened(champion, trial.champion.onnx))
    one = paired_difference(trial.losses, losses, settings.alpha, trial.days)
    numbers |= {"champion_loss": _mean(losses), "margin": settings.margin, **plain(one)}
    told = f"{champion.label}, which serves now: {said(one)}, margin {settings.margin:g}"
    if one.interval.high < settings.margin:
        return Finding(outcome=Outcome.PASS, reason=f"not worse than {told}", numbers=numbers)
    if champion.training and trial.held_out.version.id in champion.training:
        reason = f"not shown to be as good as {told}; but that one learnt from these very rows"
        return Finding(outcome=Outcome.UNPROVEN, reason=reason, numbers=numbers)
    if one.interval.low > settings.margin:
        return Finding(outcome=Outcome.FAIL, reason=f"worse than {told}", numbers=numbers)
    return Finding(outcome=Outcome.UNPROVEN, reason=f"not shown to be as good as {told}", numbers=numbers)


def too_few(trial: Trial, min_rows: int, min_days: int) -> str:
    """Why there is too little to judge by, or nothing."""
    rows, days = len(trial.truth), min_days if trial.days is None else len(np.unique(trial.days))
    if rows < min_rows or days < min_days:
        return f"{rows} labelled rows on {days} days; it takes {min_rows} on {min_days}"
    return ""


def plain(one: Comparison) -> dict[str, Any]:
    """The numbers of a comparison as JSON has them."""
    return {
        "difference": one.estimate, "low": one.interval.low, "high": one.interval.high, "level": one.interval.level,
        "n": one.n, "clusters": one.clusters,
    }  # fmt: skip


def said(one: Comparison) -> str:
    return f"{one.estimate:+.4g} ({one.interval.low:+.4g} to {one.interval.high:+.4g}) on {one.n} rows"


def _held_out(trial: Trial) -> dict[str, Any]:
    """What is told of the candidate by itself; `days` is what served predictions are later held against."""
    numbers: dict[str, Any] = {
        "n": len(trial.truth),
        "unlabelled": len(trial.labels) - len(trial.truth),
        "independent": trial.unit,
        "days": _by_day(trial),
    }
    if len(trial.truth):
        numbers["loss"] = _mean(trial.losses)
    if trial.version.task is Task.BINARY and len(np.unique(trial.truth)) == 2:
        chances = np.clip(trial.scores[trial.known], 0.0, 1.0)
        for measure in (statistics.auc, statistics.log_loss, statistics.accuracy):
            numbers[measure.__name__] = measure(trial.truth, chances)
    if trial.version.task is Task.MULTICLASS and len(trial.truth):
        chances = np.clip(trial.scores[trial.known], 0.0, 1.0)
        numbers["log_loss"] = statistics.class_log_loss(trial.truth, chances)
        numbers["accuracy"] = statistics.class_accuracy(trial.truth, chances)
        numbers["unknown_classes"] = int((trial.truth < 0).sum())
        numbers["predicted"] = _predicted(trial)
    return numbers


def _by_day(trial: Trial) -> list[dict[str, Any]]:
    if trial.days is None:
        return []
    days, places = np.unique(trial.days, return_inverse=True)
    n = np.bincount(places)
    totals, squares = np.bincount(places, trial.losses), np.bincount(places, np.square(trial.losses))
    rows = zip(days.tolist(), n.tolist(), totals.tolist(), squares.tolist(), strict=True)
    return [
        msgspec.to_builtins(DayLoss(day=day, n=count, loss=loss, loss_squares=square))
        for day, count, loss, square in rows
        if day != NO_DAY
    ]


def _predicted(trial: Trial) -> dict[str, list[int]]:
    """By day, how often each class was the likeliest: what served predictions are later held against."""
    if trial.days is None:
        return {}
    places, width = trial.scores[trial.known].argmax(axis=1), len(trial.version.signature.classes)
    days = [day for day in np.unique(trial.days).tolist() if day != NO_DAY]
    return {day: np.bincount(places[trial.days == day], minlength=width).tolist() for day in days}


def _mean(losses: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(losses.mean())
