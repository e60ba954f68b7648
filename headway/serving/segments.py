"""Captured exchanges as columnar Parquet segments: one row per prediction.

Columns: the features, typed by the signature, and beside them, set apart by an underscore, `_prediction`, `_request`,
`_key`, `_release` (null when none was chosen), `_event_at`, `_received_at`, `_status`, `_error`, `_fallback` (the
release that answered in the place of `_release`, whose failure `_error` tells, or `constant`), `_rows` and
`_latency_us` (both of the whole request), `_filled` (the features whose default stands in the row, else null),
`_share` (of the requests that are captured), `_sampled` (whether the row is of that share; else it was kept for its
failure, and is of no use for rates), `_score`, `_mirror_release`, `_mirror_score`; with a release of several
classes also `_label`, `_probabilities` (by class, in its order) and `_mirror_probabilities`. A score that is not
finite stands as null, and so does a mirror's that failed. A failed request whose rows are not known is one row without
features.
"""

from __future__ import annotations

import fcntl
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.engines.tables.dtypes import DTYPES
from headway.kernel.records import digest
from headway.lifecycle.models.records import TensorSpec
from headway.serving.exchange import Exchange
from headway.serving.router import LoadedRoute
from headway.serving.tally import Tally
from headway.serving.tensors import feature_names

Columns = dict[str, tuple[Any, ...]]
Chances = dict[int, list[float]]
"""By row, the probability of each class."""
_UTC = pl.Datetime("us", "UTC")


class Segment(NamedTuple):
    data: bytes
    tally: Tally


def segment(exchanges: Sequence[Exchange], inputs: tuple[TensorSpec, ...]) -> Segment:
    """Exchanges whose features are those of `inputs` (or unknown) as the bytes of one Parquet file."""
    names = feature_names(inputs)
    columns = dict(zip(names, zip(*_feature_rows(exchanges, len(names)), strict=True), strict=True))
    scores = np.fromiter(chain.from_iterable(each.scores or [np.nan] * each.rows for each in exchanges), np.float64)
    scored = np.repeat([each.scores is not None for each in exchanges], [each.rows for each in exchanges])
    mirror_releases, mirror_scores, mirror_chances, failures, error = _mirrored(exchanges, columns)
    frame = _requests(exchanges).with_columns(
        pl.Series("_filled", list(chain.from_iterable(e.filled_rows() for e in exchanges)), pl.List(pl.String)),
        pl.Series("_prediction", list(chain.from_iterable(each.prediction_ids() for each in exchanges)), pl.String),
        _finite("_score", scores),
        mirror_releases,
        _finite("_mirror_score", mirror_scores),
        *_classified(exchanges, mirror_chances),
        *(pl.Series(name, columns[name], DTYPES[spec.datatype]) for spec in inputs for name in spec.columns),
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    non_finite = int((~np.isfinite(scores) & scored).sum())
    mirrored = int(mirror_releases.count()) - failures
    return Segment(buffer.getvalue(), Tally(len(scores), non_finite, mirrored, failures, error, _saturated(exchanges)))


def write(data: bytes, spool: Path) -> Path:
    """Keep `data` in `spool` under its digest; the file appears whole or not at all."""
    path = spool / f"{digest(data).removeprefix('b3:')}.parquet"
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # shows that its writer lives
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    folder = os.open(spool, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def _requests(exchanges: Sequence[Exchange]) -> pl.DataFrame:
    """What is known of the requests, repeated for each of their rows."""
    received_us = [exchange.received_ns // 1000 for exchange in exchanges]
    events = [
        received if each.event_us is None else each.event_us
        for each, received in zip(exchanges, received_us, strict=True)
    ]
    frame = pl.DataFrame(
        [
            pl.Series("_request", [each.request for each in exchanges], pl.String),
            pl.Series("_key", [each.key or None for each in exchanges], pl.String),
            pl.Series("_release", [each.release or None for each in exchanges], pl.String),
            pl.Series("_event_at", events, pl.Int64).cast(_UTC),
            pl.Series("_received_at", received_us, pl.Int64).cast(_UTC),
            pl.Series("_status", [each.status for each in exchanges], pl.Int16),
            pl.Series("_error", [each.error or None for each in exchanges], pl.String),
            pl.Series("_fallback", [each.fallback or None for each in exchanges], pl.String),
            pl.Series("_rows", [each.rows for each in exchanges], pl.Int32),
            pl.Series("_share", [each.table.table.capture.share for each in exchanges], pl.Float64),
            pl.Series("_sampled", [each.sampled for each in exchanges], pl.Boolean),
            pl.Series("_latency_us", [each.latency_us for each in exchanges], pl.Float64),
        ]
    )
    rows = frame["_rows"].to_numpy()
    return frame if rows.max() == 1 else frame[np.repeat(np.arange(len(rows)), rows)]


def _feature_rows(exchanges: Sequence[Exchange], width: int) -> Iterable[tuple[Any, ...]]:
    return chain.from_iterable(each.feature_rows(width) for each in exchanges)


def _classified(exchanges: Sequence[Exchange], mirror_chances: Chances) -> list[pl.Series]:
    """What releases of several classes said; nothing where none did."""
    if not mirror_chances and all(each.probabilities is None for each in exchanges):
        return []
    labels, chances = list[str | None](), list[list[float] | None]()
    for each in exchanges:
        known = each.probabilities is not None
        labels += [str(label) for label in each.labels or ()] if known else [None] * each.rows
        chances += each.probabilities.tolist() if known else [None] * each.rows
    others = [mirror_chances.get(row) for row in range(len(labels))]
    return [
        pl.Series("_label", labels, pl.String),
        pl.Series("_probabilities", chances, pl.List(pl.Float64)),
        pl.Series("_mirror_probabilities", others, pl.List(pl.Float64)),
    ]


def _mirrored(
    exchanges: Sequence[Exchange], columns: Columns
) -> tuple[pl.Series, NDArray[np.float64], Chances, int, str]:
    """By row, the release that scored it once more, that score and the probabilities of several classes; the number of
    rows on which that failed, and why."""
    starts = np.cumsum([0, *(each.rows for each in exchanges)])
    releases: list[str | None] = [None] * int(starts[-1])
    scores = np.full(int(starts[-1]), np.nan)
    chances: Chances = {}
    failures, reason = 0, ""
    groups: dict[int, tuple[LoadedRoute, list[int]]] = {}
    for place, each in enumerate(exchanges):
        if each.status == 200 and not each.fallback and (mirror := each.table.mirror(each.release, each.request)):
            groups.setdefault(id(mirror), (mirror, []))[1].extend(range(starts[place], starts[place + 1]))
    for mirror, rows in groups.values():
        try:
            scores[rows], wide = _rescored(mirror, columns, rows)
            chances.update(zip(rows, wide, strict=False))
        except Exception as error:  # the other model may fail in any way; the captured rows must not be lost by it
            failures += len(rows)
            reason = f"release {mirror.route.release}: {error!r}"[:500]
        for row in rows:
            releases[row] = mirror.route.release
    return pl.Series("_mirror_release", releases, pl.String), scores, chances, failures, reason


def _rescored(mirror: LoadedRoute, columns: Columns, rows: list[int]) -> tuple[list[float], list[list[float]]]:
    own = {name: [columns[name][row] for row in rows] for name in mirror.inputs.columns}
    outputs = mirror.runtime.run(mirror.inputs.feed(own))
    wide = mirror.probabilities(outputs, len(rows)).tolist() if mirror.classes else []
    return mirror.scores(outputs, len(rows)), wide


def _saturated(exchanges: Sequence[Exchange]) -> Counter[str]:
    """By release, the scores that are exactly 0 or 1: a probability that leaves no doubt is seldom meant so."""
    found: Counter[str] = Counter()
    for each in exchanges:
        if each.scores and not each.fallback and (count := sum(score in (0.0, 1.0) for score in each.scores)):
            found[each.release] += count
    return found


def _finite(name: str, scores: NDArray[np.float64]) -> pl.Series:
    return pl.Series(name, np.where(np.isfinite(scores), scores, np.nan), nan_to_null=True)
