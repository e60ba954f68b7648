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
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.client.client import Client
from headway.client.predictions import Prediction
from headway.errors import Invalid, NotFound, PredictionUnknown
from headway.kernel.clock import Instant
from headway.kernel.paging import MOST, every
from headway.kernel.records import Value
from headway.kernel.statistics import Interval, clustered_interval
from headway.lifecycle.models.records import ClassName
from headway.lifecycle.predictions.records import LabelValue, Segment
from headway.lifecycle.predictions.rules import class_loss, class_place, loss
from headway.lifecycle.rollouts.fallbacks import CONSTANT
from headway.serving.loaded import LoadedRoute
from headway.serving.offline.releases import Releases

_LABELS = 10_000
_REQUEST = ("_request", "_received_at")
"""What the rows of one request have in common; a client may have given its id to several."""


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
    label: str = ""
    """Of several classes, what `release` says now."""
    captured_label: str = ""
    steady: bool = True
    """Asked twice, it said the same: otherwise the model is not deterministic, and no replay can be identical."""


class Replay(Value):
    """Many of them. `failed` rows were answered with an error, or by a constant, and cannot be compared.

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
    unsteady: int = 0
    """Rows that the release which answered then answers in two ways when it is asked twice: it is not deterministic."""


def replay_one(client: Client, prediction: str, release: str = "") -> Replayed:
    """Make `prediction` again, by `release` or the one that answered then.

    Raises `PredictionUnknown`; `Invalid` when it failed then, since what it was asked is not known in full, and for a
    request of several rows, each of which is a prediction.
    """
    found = _found(client, prediction)
    segment = _frame(client, client.predictions.segment(found.segment))
    row = segment.row(found.row, named=True)
    if row["_status"] != 200:
        raise Invalid(f"prediction {prediction} was refused then: {row['_error']}")
    if row.get("_fallback") == CONSTANT and not release:
        raise Invalid(f"prediction {prediction} was answered by a constant: {row['_error']}; name a release to ask")
    with Releases(client, client.deployments.get(found.deployment).python) as releases:
        loaded = releases.get(release or found.release)
        frame, place = _asked_with(segment, found.row)
        outputs = _one_row(_outputs(loaded, frame), place)
        steady = _bits(outputs) == _bits(_one_row(_outputs(loaded, frame), place))
    score = loaded.scores(outputs, 1)[0]
    names = [spec.name for spec in loaded.route.signature.outputs]
    chances = tuple(loaded.probabilities(outputs, 1)[0].tolist()) if loaded.classes else ()
    return Replayed(
        prediction=found.id,
        deployment=found.deployment,
        event_at=found.event_at,
        captured_by=found.release,
        captured=found.score,
        release=loaded.route.release,
        score=score,
        identical=_same(found.score, score) and found.probabilities == chances,
        steady=steady,
        label=str(loaded.labels(outputs, 1)[0]) if chances else "",
        captured_label=str(row.get("_label") or ""),
        features={name: row[name] for name in loaded.inputs.columns},
        outputs={name: output.ravel().tolist() for name, output in zip(names, outputs, strict=True)},
    )


def _asked_with(segment: pl.DataFrame, row: int) -> tuple[pl.DataFrame, int]:
    """The rows of the request that `row` was part of, and its place among them: see `_as_asked`."""
    same = [pl.col(name).eq_missing(segment[name][row]) for name in _REQUEST]
    whole = segment.with_row_index("_place").filter(*same)
    return whole, whole["_place"].to_list().index(row)


def _one_row(outputs: list[Any], place: int) -> list[Any]:
    return [output[place : place + 1] for output in outputs]


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
    sums = _Sums()
    with Releases(client, client.deployments.get(deployment).python) as releases:
        for segment in segments(client, deployment, start, end):
            frame = rows_of(client, segment, start, end)
            sums.failed += frame.height - _answered(frame).height
            for (answered_by,), part in _answered(frame).group_by("_answered_by", maintain_order=True):
                _replay_part(client, releases, release, str(answered_by), part, sums)
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


def _replay_part(
    client: Client, releases: Releases, release: str, answered_by: str, part: pl.DataFrame, sums: _Sums
) -> None:  # fmt: skip
    """The rows of `part`, which `answered_by` answered then."""
    loaded = releases.get(release or answered_by)
    answers = _answers(loaded, _outputs(loaded, part), part.height)
    if loaded.route.release == answered_by:
        answers = _as_asked(loaded, part, answers, sums)
    before = releases.get(answered_by).classes if loaded.classes else ()
    sums.add(part, answers, _labels(client, part["_prediction"].to_list()), before)


class Answers(NamedTuple):
    """What a release says of some rows now; of several classes, by row the probability of each."""

    scores: Any
    classes: tuple[ClassName, ...]
    probabilities: list[list[float]]


class _Sums:
    def __init__(self) -> None:
        self.rows = self.failed = self.identical = self.labelled = self.unsteady = 0
        self._worst, self._most = "", 0.0
        self._captured = self._score = 0.0
        self._days: defaultdict[str, list[float]] = defaultdict(list)

    def add(
        self, part: pl.DataFrame, answers: Answers, labels: dict[str, LabelValue], before: tuple[ClassName, ...]
    ) -> None:
        """`before` are the classes of what was answered then."""
        scores, captured = answers.scores, part["_score"].fill_null(math.nan).to_numpy()
        gaps, then_chances = _gaps(part, answers), _chances(part)
        self.rows += part.height
        self.identical += int((gaps == 0).sum())
        worst = int(gaps.argmax())
        if gaps[worst] > self._most:
            self._most, self._worst = float(gaps[worst]), part["_prediction"][worst]
        self._captured += float(np.nansum(captured))
        self._score += float(np.nansum(scores))
        days = part["_event_at"].dt.date().cast(pl.String).to_list()
        rows = zip(part["_prediction"].to_list(), days, captured, scores, strict=True)
        for row, (name, day, then, now) in enumerate(rows):
            if name not in labels or not (math.isfinite(then) and math.isfinite(now)):
                continue
            if not answers.classes:
                self._days[day].append(loss(now, float(labels[name])) - loss(then, float(labels[name])))
            elif (chances := then_chances[row]) and before:
                was = class_loss(chances, class_place(before, labels[name]))
                place = class_place(answers.classes, labels[name])
                self._days[day].append(class_loss(answers.probabilities[row], place) - was)

    def replay(self, deployment: str, release: str) -> Replay:
        groups = [(len(losses), math.fsum(losses)) for losses in self._days.values()]
        labelled, rows = sum(count for count, _ in groups), max(self.rows, 1)
        return Replay(
            deployment=deployment,
            release=release,
            rows=self.rows,
            failed=self.failed,
            identical=self.identical,
            unsteady=self.unsteady,
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


def _answered(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that some release answered, with its name in `_answered_by`."""
    answered = frame.filter(pl.col("_status") == 200)
    if "_fallback" not in frame.columns:
        return answered.with_columns(pl.col("_release").alias("_answered_by"))
    instead = pl.coalesce("_fallback", "_release").alias("_answered_by")
    return answered.filter((pl.col("_fallback") != CONSTANT).fill_null(True)).with_columns(instead)


def _outputs(loaded: LoadedRoute, frame: pl.DataFrame) -> list[Any]:
    missing = [name for name in loaded.inputs.columns if name not in frame.columns]
    if missing:
        raise Invalid(f"the captured rows have no {', '.join(missing[:10])}, which {loaded.route.release} needs")
    feed = loaded.inputs.feed({name: frame[name].to_list() for name in loaded.inputs.columns})
    return loaded.runtime.run(feed)


def _answers(loaded: LoadedRoute, outputs: list[Any], rows: int) -> Answers:
    chances = loaded.probabilities(outputs, rows).tolist() if loaded.classes else []
    return Answers(np.asarray(loaded.scores(outputs, rows)), loaded.classes, chances)


def _as_asked(loaded: LoadedRoute, part: pl.DataFrame, answers: Answers, sums: _Sums) -> Answers:
    """`answers` with the rows that differ asked again as they were then: the last bits of a sum depend on how many rows
    are added up at once."""
    apart = set(part.filter(pl.Series(_gaps(part, answers) > 0))["_request"].to_list())
    if not apart:
        return answers
    whole = part.with_row_index("_place").filter(pl.col("_request").is_in(apart))
    for _, rows in whole.group_by(_REQUEST, maintain_order=True):
        outputs = _outputs(loaded, rows)
        one = _answers(loaded, outputs, rows.height)
        if (_gaps(rows, one) > 0).any() and _bits(outputs) != _bits(_outputs(loaded, rows)):
            sums.unsteady += rows.height
        for at, place in enumerate(rows["_place"].to_list()):
            answers.scores[place] = one.scores[at]
            if loaded.classes:
                answers.probabilities[place] = one.probabilities[at]
    return answers


def _bits(outputs: list[Any]) -> list[Any]:
    """What can be compared bit for bit, NaN included."""
    return [output.tolist() if output.dtype == object else output.tobytes() for output in outputs]


def _chances(part: pl.DataFrame) -> list[list[float] | None]:
    """By row, the probabilities of several classes as they were captured."""
    return part["_probabilities"].to_list() if "_probabilities" in part.columns else [None] * part.height


def _gaps(part: pl.DataFrame, answers: Answers) -> NDArray[np.float64]:
    """By row, how far what was captured is from `answers`; of several classes, in the one where it is furthest."""
    captured, scores = part["_score"].fill_null(math.nan).to_numpy(), answers.scores
    gaps = np.where(np.isnan(captured) & np.isnan(scores), 0.0, np.abs(captured - scores))
    gaps = np.where(np.isnan(gaps), math.inf, gaps)
    if not answers.classes:
        return gaps
    wide = zip(_chances(part), answers.probabilities, gaps, strict=True)
    return np.array([_furthest(then, now, gap) for then, now, gap in wide])


def _furthest(then: list[float] | None, now: list[float], gap: float) -> float:
    if not then or len(then) != len(now):
        return gap
    return max(abs(one - other) for one, other in zip(then, now, strict=True))


def _labels(client: Client, predictions: Iterable[str]) -> dict[str, LabelValue]:
    names, found = list(predictions), dict[str, LabelValue]()
    for at in range(0, len(names), _LABELS):
        found.update(client.predictions.labels(names[at : at + _LABELS]))
    return found


def _same(captured: float | None, score: float) -> bool:
    return captured == score or (captured is None and not math.isfinite(score))
