"""Captured exchanges as columnar Parquet segments: one row per prediction.

Columns: the features, typed by the signature, and beside them, set apart by an underscore, `_prediction`, `_request`,
`_key`, `_release` (null when none was chosen), `_event_at`, `_received_at`, `_status`, `_error`, `_fallback` (the
release that answered in the place of `_release`, whose failure `_error` tells, or `constant`), `_rows` and
`_latency_us` (both of the whole request), `_filled` (the features whose default stands in the row, else null),
`_skewed` (the features whose value breaks a rule that the contract lets pass, else null),
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
from typing import NamedTuple

import numpy as np
from arro3.core import RecordBatch
from arro3.io import write_parquet
from numpy.typing import NDArray

from headway.kernel.records import digest
from headway.lifecycle.models.records import TensorSpec
from headway.serving.capture.columns import (
    INT16,
    INT32,
    Column,
    double_lists,
    doubles,
    moments,
    numbers,
    repeated,
    text_lists,
    texts,
    truths,
)
from headway.serving.capture.exchange import Kept, Written, written
from headway.serving.capture.features import CapturedFeatures, captured
from headway.serving.capture.tally import Tally
from headway.serving.loaded import LoadedRoute

Chances = dict[int, list[float]]
"""By row, the probability of each class."""
_WORTH_PACKING = 500
"""Rows; for fewer, zstd would spend four times as long on getting ready for each column as all else takes."""
_OFTEN_ALIKE = ("_release", "_mirror_release", "_error", "_fallback", "_label")


class Segment(NamedTuple):
    data: bytes
    tally: Tally


def segment(kept: Iterable[Kept], inputs: tuple[TensorSpec, ...]) -> Segment:
    """Exchanges whose features are those of `inputs` (or unknown) as the bytes of one Parquet file."""
    exchanges = written(kept)
    features = captured(exchanges, inputs)
    scores = np.fromiter(chain.from_iterable(each.score_rows() for each in exchanges), np.float64)
    scored = np.repeat([each.scores is not None for each in exchanges], [each.rows for each in exchanges])
    mirror_releases, mirror_scores, mirror_chances, failures, error = _mirrored(exchanges, features)
    columns = {
        **_requests(exchanges),
        "_filled": text_lists(list(chain.from_iterable(each.filled_rows() for each in exchanges))),
        "_skewed": text_lists(list(chain.from_iterable(each.skewed_rows() for each in exchanges))),
        "_prediction": texts(list(chain.from_iterable(each.prediction_ids() for each in exchanges))),
        "_score": doubles(scores),
        "_mirror_release": texts(mirror_releases),
        "_mirror_score": doubles(mirror_scores),
        **_classified(exchanges, mirror_chances),
        **features.columns(),
    }
    batch, buffer = RecordBatch.from_arrays(list(columns.values()), names=list(columns)), io.BytesIO()
    write_parquet(
        batch, buffer, compression="zstd(1)" if len(scores) >= _WORTH_PACKING else "snappy", dictionary_enabled=False,
        column_dictionary_enabled={name: True for name in _OFTEN_ALIKE if name in columns},
    )  # fmt: skip
    non_finite = int((~np.isfinite(scores) & scored).sum())
    mirrored = len(scores) - mirror_releases.count(None) - failures
    return Segment(
        buffer.getvalue(), Tally(len(scores), non_finite, mirrored, failures, error, _saturated(exchanges, scores))
    )


def write(data: bytes, spool: Path) -> Path:
    """Keep `data` in `spool` under its digest; the file appears whole or not at all.

    Raises OSError, and then leaves nothing behind: on a full disk each further try would take some more of it.
    """
    path = spool / f"{digest(data).removeprefix('b3:')}.parquet"
    unfinished = path.with_suffix(".tmp")
    try:
        with unfinished.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # shows that its writer lives
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    folder = os.open(spool, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def _requests(exchanges: Sequence[Written]) -> dict[str, Column]:
    """What is known of the requests, repeated for each of their rows."""
    received_us = [received_ns // 1000 for each in exchanges for received_ns in each.received_rows()]
    rows = np.array([each.rows for each in exchanges])
    own = np.repeat([each.event_us is not None for each in exchanges], rows)
    events = np.where(own, np.repeat([each.event_us or 0 for each in exchanges], rows), received_us)
    return {
        "_request": texts(list(chain.from_iterable(each.requests() for each in exchanges))),
        "_key": texts(list(chain.from_iterable(each.keys() for each in exchanges))),
        "_release": texts(repeated([each.release or None for each in exchanges], rows)),
        "_event_at": moments(events),
        "_received_at": moments(np.array(received_us)),
        "_status": numbers(np.repeat([each.status for each in exchanges], rows), INT16),
        "_error": texts(repeated([each.error or None for each in exchanges], rows)),
        "_fallback": texts(repeated([each.fallback or None for each in exchanges], rows)),
        "_rows": numbers(np.repeat([each.request_rows for each in exchanges], rows), INT32),
        "_share": doubles(np.repeat([each.table.table.capture.share for each in exchanges], rows)),
        "_sampled": truths(np.repeat([each.sampled for each in exchanges], rows)),
        "_latency_us": doubles(np.fromiter(chain.from_iterable(each.latency_rows() for each in exchanges), np.float64)),
    }


def _classified(exchanges: Sequence[Written], mirror_chances: Chances) -> dict[str, Column]:
    """What releases of several classes said; nothing where none did."""
    if not mirror_chances and all(each.probabilities is None for each in exchanges):
        return {}
    labels, chances = list[str | None](), list[list[float] | None]()
    for each in exchanges:
        if each.probabilities is None:
            labels += [None] * each.rows
            chances += [None] * each.rows
        else:
            labels += [str(label) for label in each.labels or ()]
            chances += each.probabilities.tolist()
    others = [mirror_chances.get(row) for row in range(len(labels))]
    return {
        "_label": texts(labels),
        "_probabilities": double_lists(chances),
        "_mirror_probabilities": double_lists(others),
    }


def _mirrored(
    exchanges: Sequence[Written], features: CapturedFeatures
) -> tuple[list[str | None], NDArray[np.float64], Chances, int, str]:
    """By row, the release that scored it once more, that score and the probabilities of several classes; the number of
    rows on which that failed, and why."""
    starts: list[int] = np.cumsum([0, *(each.rows for each in exchanges)]).tolist()
    releases: list[str | None] = [None] * starts[-1]
    scores = np.full(starts[-1], np.nan)
    chances: Chances = {}
    failures, reason = 0, ""
    for mirror, rows in _mirrors(exchanges, starts):
        try:
            outputs = mirror.runtime.run(features.feed(mirror.inputs, rows))
            again = mirror.scores(outputs, len(rows))
            wide = mirror.probabilities(outputs, len(rows)).tolist() if mirror.classes else []
        except Exception as error:  # the other model may fail in any way; the captured rows must not be lost by it
            failures += len(rows)
            reason = f"release {mirror.route.release}: {error!r}"[:500]
        else:
            scores[rows] = again
            chances.update(zip(rows, wide, strict=False))
        for row in rows:
            releases[row] = mirror.route.release
    return releases, scores, chances, failures, reason


def _mirrors(exchanges: Sequence[Written], starts: list[int]) -> Iterable[tuple[LoadedRoute, list[int]]]:
    """What scores rows once more, and which rows. What another one than the release has answered is left out."""
    groups: dict[int, tuple[LoadedRoute, list[int]]] = {}
    for place, each in enumerate(exchanges):
        if not each.table.mirrors or each.status != 200 or each.fallback:
            continue
        if mirror := each.table.mirrors_all(each.release):
            groups.setdefault(id(mirror), (mirror, []))[1].extend(range(starts[place], starts[place + 1]))
            continue
        for row, request in enumerate(each.requests(), starts[place]):
            if mirror := each.table.mirror(each.release, request):
                groups.setdefault(id(mirror), (mirror, []))[1].append(row)
    return groups.values()


def _saturated(exchanges: Sequence[Written], scores: NDArray[np.float64]) -> Counter[str]:
    """By release, the scores that are exactly 0 or 1: a probability that leaves no doubt is seldom meant so."""
    found: Counter[str] = Counter()
    if not np.isin(scores, (0.0, 1.0)).any():
        return found
    for each in exchanges:
        own = [] if each.fallback else each.score_rows()
        if count := own.count(0.0) + own.count(1.0):
            found[each.release] += count
    return found
