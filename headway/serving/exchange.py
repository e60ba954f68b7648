"""One inference request and its answer, as far as it came: what is captured and counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.serving.router import LoadedTable


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

    def requests(self) -> list[str]:
        """By row, as what follows."""
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


class Answered(msgspec.Struct, gc=False):
    """In place of an `Exchange` each: requests of one row of numbers that one turn of the event loop has answered, all
    with the same release. Thousands of them may wait to be written, so that each holds as little as can be."""

    table: LoadedTable
    received_ns: int
    size: int
    release: str
    latency_us: float
    ids: Sequence[str]
    own_keys: list[str] | None
    """None where the ids are the keys, too."""
    numbers: NDArray[Any]
    """Their features, a row each."""
    scores: NDArray[np.float64]

    event_us = probabilities = labels = None
    status, error, fallback, sampled, request_rows = 200, "", "", True, 1

    @property
    def rows(self) -> int:
        return len(self.scores)

    def requests(self) -> Sequence[str]:
        return self.ids if isinstance(self.ids, list) else list(self.ids)

    def keys(self) -> Sequence[str | None]:
        return [key or None for key in self.own_keys] if self.own_keys else self.requests()

    def prediction_ids(self) -> Sequence[str]:
        return self.requests()

    def score_rows(self) -> list[float]:
        scores: list[float] = self.scores.tolist()
        return scores

    def filled_rows(self) -> list[list[str] | None]:
        return [None] * self.rows

    skewed_rows = filled_rows

    def feature_rows(self, width: int) -> Iterable[tuple[Any, ...]]:
        return map(tuple, self.numbers.tolist())

    def sample(self, taken: Sequence[bool]) -> Answered:
        """Only those that are taken, one word for each."""
        return msgspec.structs.replace(
            self,
            ids=list(compress(self.ids, taken)),
            own_keys=self.own_keys and list(compress(self.own_keys, taken)),
            numbers=self.numbers[np.array(taken)],
            scores=self.scores[np.array(taken)],
        )


class JoinedIds(Sequence[str]):
    """Ids of one length in one text, which takes a third of the memory."""

    __slots__ = ("_letters", "_text")

    def __init__(self, ids: Sequence[str], letters: int) -> None:
        self._text, self._letters = "".join(ids), letters

    def __len__(self) -> int:
        return len(self._text) // self._letters

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < len(self):
            raise IndexError
        return self._text[at * self._letters : (at + 1) * self._letters]


Kept = Exchange | Answered
"""What is captured."""
