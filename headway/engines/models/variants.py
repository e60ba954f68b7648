"""The forms of one model side by side: each proven on real rows, the fastest of the proven ones kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from headway.engines.models.scoring import Feeds, OnnxModel, feeds
from headway.lifecycle.models.records import Parity, Variant

BATCH_ROWS = 100
_SINGLE_ROUNDS = 300
_BATCH_ROUNDS = 60
_WARMING_ROUNDS = 10
_CLEARLY_FASTER = 0.9
"""A form replaces a plainer one when a row takes at most this share of its time: less is within what medians of a
busy machine differ by."""


@dataclass(frozen=True)
class Candidate:
    """A form that answered on real rows, or `reason`, why there is none."""

    name: str
    onnx: bytes = b""
    parity: Parity | None = None
    reason: str = ""

    @property
    def proven(self) -> bool:
        return self.parity is not None and self.parity.proven


def fastest(
    candidates: Sequence[Candidate], frame: pl.DataFrame, timer_ns: Callable[[], int] = time.perf_counter_ns
) -> tuple[Candidate, tuple[Variant, ...]]:
    """The proven candidate that answers soonest, and what was measured of all; the plainest comes first.

    Judged by the median of a single row, and kept from the first on unless clearly beaten. Where none is proven it is
    the first. Raises `Invalid` when a candidate does not load.
    """
    proven = {each.name: OnnxModel(each.onnx) for each in candidates if each.proven}
    single = _medians_us(proven, frame.head(1), _SINGLE_ROUNDS, timer_ns) if proven else {}
    batch = _medians_us(proven, frame.head(BATCH_ROWS), _BATCH_ROUNDS, timer_ns) if proven else {}
    kept = next((each for each in candidates if each.proven), candidates[0])
    for each in candidates:
        if each.proven and single[each.name] < single[kept.name] * _CLEARLY_FASTER:
            kept = each
    return kept, tuple(
        Variant(
            name=each.name, size=len(each.onnx), max_difference=each.parity.max_difference if each.parity else None,
            single_us=single.get(each.name), batch_us=batch.get(each.name), kept=each is kept,
            reason=each.reason or (refusal_of(each.parity) if each.parity else ""),
        )
        for each in candidates
    )  # fmt: skip


def refusal_of(parity: Parity) -> str:
    """Why a form is not proven, or nothing."""
    if parity.proven:
        return ""
    if not parity.rows:
        return "there is no row to compare it on"
    told = f"differs by {parity.max_difference:.2g} in row {parity.worst_row} of {parity.rows}"
    if parity.max_difference <= parity.tolerance:
        told = f"gives another label in {parity.labels_apart} of {parity.rows} rows"
    if parity.rounded_apart:
        told += f"; {parity.rounded_apart} rows lie next to a split that single precision blurs"
    return told


def _medians_us(
    models: Mapping[str, OnnxModel], frame: pl.DataFrame, rounds: int, timer_ns: Callable[[], int]
) -> dict[str, float]:  # fmt: skip
    """The forms take turns, so that what else the machine does falls on all of them."""
    fed: dict[str, Feeds] = {name: feeds(model.signature, frame) for name, model in models.items()}
    times: dict[str, list[int]] = {name: [] for name in models}
    for at in range(-_WARMING_ROUNDS, rounds):
        for name, model in models.items():
            began = timer_ns()
            model.run(fed[name])
            if at >= 0:
                times[name].append(timer_ns() - began)
    return {name: float(np.median(taken)) / 1000 for name, taken in times.items()}
