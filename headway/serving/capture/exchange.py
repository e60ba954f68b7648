"""One inference request and its answer, as far as it came: what is captured and counted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from headway.serving.capture.answered import Answered, AnsweredRows, by_release
from headway.serving.loaded import LoadedTable


class Exchange(msgspec.Struct, gc=False):
    """Filled as the request moves on, so that a failure is captured with all that was known by then."""

    table: LoadedTable
    received_ns: int
    size: int
    """Bytes of the body: the measure of what it holds in memory."""
    request: str = ""
    key: str = ""
    event_us: int | None = None
    """Microseconds since 1970 in UTC; None is the time of arrival."""
    release: str = ""
    rows: int = 1
    predictions: list[str] | None = None
    cells: tuple[Any, ...] = ()
    """The features as `Batch.cells` has them, in the signature's order; empty when they could not be read."""
    filled: dict[str, list[int]] = {}
    """By feature, the rows in which its default stands."""
    skewed: dict[str, list[int]] = {}
    """By feature, the rows whose value breaks a rule that the contract lets pass."""
    sampled: bool = True
    """Whether it is of the sample, and not kept for its failure only."""
    scores: list[float] | None = None
    probabilities: Any = None
    """Of a release of several classes: shape [rows, classes]."""
    labels: list[Any] | None = None
    """What such a release says of each row."""
    fallback: str = ""
    """What answered in the place of the release: another one, or the constant; `error` says why."""
    status: int = 200
    error: str = ""
    latency_us: float = 0.0

    @property
    def request_rows(self) -> int:
        return self.rows

    def received_rows(self) -> list[int]:
        """By row, as what follows."""
        return [self.received_ns] * self.rows

    def latency_rows(self) -> list[float]:
        return [self.latency_us] * self.rows

    def requests(self) -> list[str]:
        return [self.request] * self.rows

    def keys(self) -> list[str | None]:
        return [self.key or None] * self.rows

    def score_rows(self) -> list[float]:
        """NaN where there is none."""
        return self.scores or [math.nan] * self.rows

    def prediction_ids(self) -> list[str]:
        if self.predictions:
            return self.predictions
        if self.rows == 1:
            return [self.request]
        return [f"{self.request}-{row}" for row in range(self.rows)]

    def filled_rows(self) -> list[list[str] | None]:
        """By row, the features that were filled with their default."""
        return by_row(self.filled, self.rows)

    def skewed_rows(self) -> list[list[str] | None]:
        """By row, the features that break a rule of values."""
        return by_row(self.skewed, self.rows)

    def feature_rows(self, width: int) -> Iterable[tuple[Any, ...]]:
        """One tuple of `width` features per row."""
        if not self.cells:
            return [(None,) * width] * self.rows
        return [self.cells] if self.rows == 1 else zip(*self.cells, strict=True)


def by_row(named: dict[str, list[int]], rows: int) -> list[list[str] | None]:
    """By row, the features that name it, or None."""
    if not named:
        return [None] * rows
    names: list[list[str]] = [[] for _ in range(rows)]
    for name, places in named.items():
        for place in places:
            names[place].append(name)
    return [each or None for each in names]


Written = Exchange | AnsweredRows
"""What a segment is made of."""
Kept = Written | Answered
"""What is captured."""


def written(kept: Iterable[Kept]) -> list[Written]:
    """What was captured, as a segment takes it: in another order, and in as few pieces as can be."""
    alone, answered = list[Written](), list[Answered]()
    for each in kept:
        if isinstance(each, Answered):
            answered.append(each)
        else:
            alone.append(each)
    return [*alone, *by_release(answered)]
