"""Captured predictions made again: by the release that made them, or by another one.

The same model on the same features must give the same bits; where it does not, training and serving differ, or the
machine does. Another release on the history is a shadow test without traffic.
"""

from __future__ import annotations

import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from headway.client.client import Client
from headway.client.predictions import Prediction
from headway.errors import Invalid, NotFound, PredictionUnknown
from headway.kernel.clock import Instant
from headway.kernel.paging import MOST, every
from headway.kernel.records import Value
from headway.kernel.statistics import Interval, clustered_interval
from headway.lifecycle.models.records import Form
from headway.lifecycle.predictions.records import Segment
from headway.lifecycle.predictions.rules import loss
from headway.lifecycle.rollouts.routing import Route
from headway.serving.router import LoadedRoute
from headway.serving.runtimes import OnnxRuntime

_LABELS = 10_000


class Replayed(Value):
    """One prediction, made again by `release`; `captured` is the score that was answered then, by `captured_by`."""

    prediction: str
    deployment: str
    event_at: Instant
    captured_by: str
    captured: float | None
    release: str
    score: float
    identical: bool
    features: dict[str, Any]
    outputs: dict[str, list[Any]]


class Replay(Value):
    """Many of them. `failed` rows were answered with an error and cannot be compared.

    `loss` is the mean squared error of `release` minus that of what was answered, over the `labelled` rows: below zero
    `release` is better. Its interval counts days, not rows, and is None below two days.
    """

    deployment: str
    release: str
    rows: int
    failed: int
    identical: int
    max_difference: float
    worst: str
    """The prediction that differs most."""
    mean_captured: float
    mean_score: float
    labelled: int
    days: int
    loss: float | None
    interval: Interval | None


def load_release(client: Client, identifier: str) -> LoadedRoute:
    """A release as a model server would load it; raises `NotFound`, or `Invalid` when its model cannot be loaded."""
    release = client.releases.get(identifier)
    version = client.models.version(release.model_version)
    if version.form is not Form.ONNX:
        raise Invalid(f"{version.label} is {version.form}, which runs in a worker of its deployment: ask the endpoint")
    route = Route(
        release=release.id, model=version.model, version=version.number, blob=release.blob,
        signature=version.signature, percent=100, contract=version.contract,
    )  # fmt: skip
    return LoadedRoute(route, OnnxRuntime(client.blobs.get(release.blob), version.signature))


def replay_one(client: Client, prediction: str, release: str = "") -> Replayed:
    """Make `prediction` again, by `release` or the one that answered then.

    Raises `PredictionUnknown`; `Invalid` when it failed then, since what it was asked is not known in full, and for a
    request of several rows, each of which is a prediction.
    """
    found = _found(client, prediction)
    loaded = load_release(client, release or found.release)
    frame = _frame(client, client.predictions.segment(found.segment))[found.row]
    row = frame.row(0, named=True)
    if row["_status"] != 200:
        raise Invalid(f"prediction {prediction} was refused then: {row['_error']}")
    outputs = _outputs(loaded, frame)
    score = loaded.scores(outputs, 1)[0]
    names = [spec.name for spec in loaded.route.signature.outputs]
    return Replayed(
        prediction=found.id,
        deployment=found.deployment,
        event_at=found.event_at,
        captured_by=found.release,
        captured=found.score,
        release=loaded.route.release,
        score=score,
        identical=_same(found.score, score),
        features={name: row[name] for name in loaded.inputs.columns},
        outputs={name: output.ravel().tolist() for name, output in zip(names, outputs, strict=True)},
    )


def _found(client: Client, prediction: str) -> Prediction:
    try:
        return client.predictions.get(prediction)
    except PredictionUnknown:
        first = f"{prediction}-0"
        try:
            client.predictions.get(first)
        except PredictionUnknown:
            pass
        else:
            raise Invalid(f"{prediction} is a request of several rows; name one of them, such as {first}") from None
        raise


def replay_all(
    client: Client,
    deployment: str,
    release: str = "",
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Replay:
    """Make all captured predictions of `deployment` with an event in [start, end) again, by `release` or each by the
    one that answered then; `progress` hears of the rows that were done.

    Raises `NotFound` when there are none.
    """
    loaded: dict[str, LoadedRoute] = {}
    sums = _Sums()
    for segment in segments(client, deployment, start, end):
        frame = rows_of(client, segment, start, end)
        sums.failed += frame.filter(pl.col("_status") != 200).height
        for (answered_by,), part in frame.filter(pl.col("_status") == 200).group_by("_release", maintain_order=True):
            wanted = release or str(answered_by)
            if wanted not in loaded:
                loaded[wanted] = load_release(client, wanted)
            scores = np.asarray(loaded[wanted].scores(_outputs(loaded[wanted], part), part.height))
            sums.add(part, scores, _labels(client, part["_prediction"].to_list()))
        progress(frame.height)
    if sums.rows + sums.failed == 0:
        raise NotFound(f"no prediction of {deployment!r} was captured in that time")
    return sums.replay(deployment, release)


def segments(client: Client, deployment: str, start: datetime | None, end: datetime | None) -> Iterator[Segment]:
    """Segments with an event in [start, end), newest first."""
    for each in every(lambda before: client.predictions.segments(deployment, limit=MOST, before=before)):
        if (start is None or each.last_event_at >= start) and (end is None or each.first_event_at < end):
            yield each


def rows_of(client: Client, segment: Segment, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """The rows of a segment with an event in [start, end), as they were captured."""
    frame = _frame(client, segment)
    if start is not None:
        frame = frame.filter(pl.col("_event_at") >= start)
    return frame if end is None else frame.filter(pl.col("_event_at") < end)


class _Sums:
    def __init__(self) -> None:
        self.rows = self.failed = self.identical = self.labelled = 0
        self._worst, self._most = "", 0.0
        self._captured = self._score = 0.0
        self._days: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, part: pl.DataFrame, scores: Any, labels: dict[str, float]) -> None:
        captured = part["_score"].fill_null(math.nan).to_numpy()
        gaps = np.where(np.isnan(captured) & np.isnan(scores), 0.0, np.abs(captured - scores))
        gaps = np.where(np.isnan(gaps), math.inf, gaps)
        self.rows += part.height
        self.identical += int((gaps == 0).sum())
        worst = int(gaps.argmax())
        if gaps[worst] > self._most:
            self._most, self._worst = float(gaps[worst]), part["_prediction"][worst]
        self._captured += float(np.nansum(captured))
        self._score += float(np.nansum(scores))
        days = part["_event_at"].dt.date().cast(pl.String).to_list()
        for name, day, then, now in zip(part["_prediction"].to_list(), days, captured, scores, strict=True):
            if name in labels and math.isfinite(then) and math.isfinite(now):
                self._days[day].append(loss(now, labels[name]) - loss(then, labels[name]))

    def replay(self, deployment: str, release: str) -> Replay:
        groups = [(len(losses), math.fsum(losses)) for losses in self._days.values()]
        labelled, rows = sum(count for count, _ in groups), max(self.rows, 1)
        return Replay(
            deployment=deployment,
            release=release,
            rows=self.rows,
            failed=self.failed,
            identical=self.identical,
            max_difference=self._most,
            worst=self._worst,
            mean_captured=self._captured / rows,
            mean_score=self._score / rows,
            labelled=labelled,
            days=len(groups),
            loss=math.fsum(total for _, total in groups) / labelled if labelled else None,
            interval=clustered_interval(groups) if len(groups) > 1 else None,
        )


def _frame(client: Client, segment: Segment) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(client.blobs.get(segment.blob)))


def _outputs(loaded: LoadedRoute, frame: pl.DataFrame) -> list[Any]:
    missing = [name for name in loaded.inputs.columns if name not in frame.columns]
    if missing:
        raise Invalid(f"the captured rows have no {', '.join(missing[:10])}, which {loaded.route.release} needs")
    feed = loaded.inputs.feed({name: frame[name].to_list() for name in loaded.inputs.columns})
    return loaded.runtime.run(feed)


def _labels(client: Client, predictions: Iterable[str]) -> dict[str, float]:
    names, found = list(predictions), {}
    for at in range(0, len(names), _LABELS):
        found.update(client.predictions.labels(names[at : at + _LABELS]))
    return found


def _same(captured: float | None, score: float) -> bool:
    return captured == score or (captured is None and not math.isfinite(score))
