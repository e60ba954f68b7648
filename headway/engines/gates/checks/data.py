"""Checks of the data: is the contract kept, and does anything tell the model the answer?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from headway.engines.gates.checks.separation import LEAST_OF_A_LABEL, separation
from headway.engines.gates.trial import Table, Trial
from headway.engines.tables.frames import kind_of_column, summary_of
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import Contract, Use, is_let_pass, violations
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.gates.names import ContractSettings, LeakageSettings, TagsSettings
from headway.lifecycle.gates.records import Finding, Outcome
from headway.lifecycle.models.records import Task

_KEPT_FROM_MODELS = (Use.LABEL, Use.KEY, Use.TIME, Use.BANNED)
_SHARED_BY_CHANCE = 0.01
_TOLD = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Part(NamedTuple):
    """What one question of a check came to."""

    outcome: Outcome
    reason: str
    numbers: Mapping[str, Any] = MappingProxyType({})


def together(parts: list[Part], passed: str) -> Finding:
    """The worst outcome and the reasons for it."""
    numbers = {name: number for part in parts for name, number in part.numbers.items()}
    for outcome in (Outcome.FAIL, Outcome.UNPROVEN):
        if reasons := [part.reason for part in parts if part.outcome is outcome]:
            return Finding(outcome=outcome, reason="; ".join(reasons), numbers=numbers)
    return Finding(outcome=Outcome.PASS, reason=passed, numbers=numbers)


def contract(trial: Trial, settings: ContractSettings) -> Finding:
    tables = [trial.held_out, *trial.training]
    bare = [table.version.label for table in tables if table.version.contract is None]
    numbers: dict[str, Any] = {"rows": trial.held_out.frame.height, "without_contract": bare}
    if trial.contract is None or bare:
        reason = f"no contract says what {', '.join(bare)} must look like; add one when adding the data"
        return Finding(outcome=Outcome.UNPROVEN, reason=reason, numbers=numbers)
    found = violations(trial.contract, summary_of(trial.held_out.frame))
    skew = [str(violation) for violation in found if is_let_pass(trial.contract, violation)]
    broken = [str(violation) for violation in found if not is_let_pass(trial.contract, violation)]
    strange = sorted({name for table in tables for name in trial.inputs if name not in _features(table)})
    numbers |= {"violations": broken, "skew": skew, "not_features": strange}
    if broken or strange:
        reasons = broken[:_TOLD] + [f"the model takes {name!r}, which is no feature" for name in strange[:_TOLD]]
        return Finding(outcome=Outcome.FAIL, reason="; ".join(reasons), numbers=numbers)
    kept = (
        f"keep their contract but for what it lets pass: {'; '.join(skew[:_TOLD])}" if skew else "keep their contract"
    )
    told = f"{numbers['rows']} held-out rows {kept}; all {len(trial.inputs)} inputs are features of it"
    return Finding(outcome=Outcome.PASS, reason=told, numbers=numbers)


def _features(table: Table) -> tuple[str, ...]:
    return table.version.contract.used_as(Use.FEATURE) if table.version.contract else ()


def tags(trial: Trial, settings: TagsSettings) -> Finding:
    if trial.origins is None or not trial.origins.complete:
        return Finding(outcome=Outcome.UNPROVEN, reason="it is not known which data the model came from")
    if not trial.origins.datasets:
        return Finding(outcome=Outcome.UNPROVEN, reason="the version names no data that it came from")
    ends = tuple(settings.banned)
    found = [each for each in trial.origins.tags if each.tag in ends or each.tag.startswith(_beginnings(ends))]
    numbers = {"datasets": len(trial.origins.datasets), "tags": sorted({each.tag for each in trial.origins.tags})}
    if found:
        told = [f"{each.dataset} {each.column} bears {each.tag!r}".replace("  ", " ") for each in found[:_TOLD]]
        return Finding(outcome=Outcome.FAIL, reason="; ".join(told), numbers=numbers)
    reason = f"none of the {numbers['datasets']} dataset versions that it came from bears {', '.join(ends)}"
    return Finding(outcome=Outcome.PASS, reason=reason, numbers=numbers)


def _beginnings(banned: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in banned if each.endswith(":"))


def leakage(trial: Trial, settings: LeakageSettings) -> Finding:
    parts = [
        _forbidden_inputs(trial),
        _telling_columns(trial, settings),
        *(_order_in_time(trial.held_out, table) for table in trial.training),
        _shared_rows(trial, settings.max_shared),
    ]
    return together(parts, f"none of the {len(trial.inputs)} inputs tells the answer, and no held-out row was learnt")


def _forbidden_inputs(trial: Trial) -> Part:
    if trial.contract is None:
        return Part(Outcome.UNPROVEN, "no contract says which columns a model may not take")
    found = [
        (name, use)
        for table in (trial.held_out, *trial.training)
        for name in trial.inputs
        if (use := _use(table.version.contract, name)) in _KEPT_FROM_MODELS
    ]
    told = [f"the model takes {name!r}, which is a {use} column" for name, use in dict.fromkeys(found)]
    return Part(Outcome.FAIL if told else Outcome.PASS, "; ".join(told), {"forbidden_inputs": told})


def _use(contract: Contract | None, name: str) -> Use | None:
    return next((rule.use for rule in contract.columns if rule.name == name), None) if contract else None


def _telling_columns(trial: Trial, settings: LeakageSettings) -> Part:
    regression = trial.version.task is Task.REGRESSION
    most, what = (settings.max_correlation, "rank correlation") if regression else (settings.max_auc, "AUC")
    try:
        told = {name: _told(trial, name) for name in trial.inputs}
    except Invalid as error:
        return Part(Outcome.UNPROVEN, str(error))
    ranked = sorted(told.items(), key=lambda item: -item[1])
    numbers = {"most_telling": dict(ranked[:_TOLD]), "judged_by": what, "labelled_rows": len(trial.truth)}
    if leaks := [f"{name!r} alone tells the label ({what} {value:.3f})" for name, value in ranked if value > most]:
        return Part(Outcome.FAIL, "; ".join(leaks), numbers)
    return Part(Outcome.PASS, "", numbers)


def _told(trial: Trial, name: str) -> float:
    """How well a column alone tells the label; of several classes, the one that it tells best from all others."""
    if trial.version.task is not Task.MULTICLASS:
        return separation(trial.labelled[name], trial.truth, binary=trial.version.task is Task.BINARY)
    classes, counts = np.unique(trial.truth, return_counts=True)
    usual = classes[(counts >= LEAST_OF_A_LABEL) & (len(trial.truth) - counts >= LEAST_OF_A_LABEL)]
    if not len(usual):
        raise Invalid(f"no class has {LEAST_OF_A_LABEL} labelled rows beside others, too few to look for a leak")
    column = trial.labelled[name]
    return max(separation(column, (trial.truth == each).astype(np.float64), binary=True) for each in usual)


def _order_in_time(held_out: Table, training: Table) -> Part:
    mine, theirs = held_out.used_as(Use.TIME), training.used_as(Use.TIME)
    if mine is None or theirs is None:
        return Part(Outcome.PASS, "", {"time": "no column for it in both tables"})
    held, learnt = _span(held_out, mine), _span(training, theirs)
    if held is None or learnt is None:
        return Part(Outcome.UNPROVEN, f"{mine!r} or {theirs!r} holds no time at all")
    first, last = held[0], learnt[1]
    numbers = {f"{training.version.label} ends at": last.isoformat(), "held_out begins at": first.isoformat()}
    if first > last:
        return Part(Outcome.PASS, "", numbers)
    reason = f"held-out rows begin at {first}, before {training.version.label} ends at {last}; hold out later rows"
    return Part(Outcome.FAIL, reason, numbers)


def _span(table: Table, name: str) -> tuple[datetime, datetime] | None:
    """The first and the last time in UTC; None when there is none."""
    column = table.frame[name].drop_nulls()
    if kind_of_column(column.dtype) is not Kind.TIME:
        raise Invalid(f"column {name!r} of {table.version.label} is to hold times, but holds {column.dtype}")
    if column.is_empty():
        return None
    ordered = column.dt.epoch("us").sort()
    return _EPOCH + timedelta(microseconds=ordered[0]), _EPOCH + timedelta(microseconds=ordered[-1])


def _shared_rows(trial: Trial, max_shared: float | None) -> Part:
    if not trial.training:
        return Part(Outcome.UNPROVEN, "the training data are not at hand, so held-out rows may be among them")
    key = trial.held_out.used_as(Use.KEY)
    most = max_shared if max_shared is not None else 0.0 if key else _SHARED_BY_CHANCE
    shared = np.zeros(trial.held_out.frame.height, dtype=np.bool_)
    for table in trial.training:
        shared |= _also_in(trial.held_out.frame, table.frame, key)
    count = int(shared.sum())
    numbers = {"shared_rows": count, "compared_by": key or "all columns"}
    if count > most * max(len(shared), 1):
        return Part(Outcome.FAIL, f"{count} of {len(shared)} held-out rows are in the training data", numbers)
    return Part(Outcome.PASS, "", numbers)


def _also_in(frame: pl.DataFrame, other: pl.DataFrame, key: str | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of `frame` are in `other` too: by `key` if both have it, else by all columns that both have."""
    names = [key] if key and key in other.columns else [name for name in frame.columns if name in other.columns]
    if not names:
        return np.zeros(frame.height, dtype=np.bool_)
    mine = frame.select(names)
    theirs = other.select(pl.col(name).cast(mine[name].dtype, strict=False) for name in names)
    return mine.hash_rows().is_in(theirs.hash_rows().implode()).to_numpy()
