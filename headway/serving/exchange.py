"""One inference request and its answer, as far as it came: what is captured and counted."""

from __future__ import annotations

from collections.abc import Iterable
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
    sampled: bool = True
    """Whether it is of the sample, and not kept for its failure only."""
    scores: list[float] | None = None
    status: int = 200
    error: str = ""
    latency_us: float = 0.0
    numbers: tuple[NDArray[np.float64], int] | None = None
    """In place of `cells`, the row at this place of an array that the requests of one turn share."""

    def prediction_ids(self) -> list[str]:
        if self.predictions:
            return self.predictions
        if self.rows == 1:
            return [self.request]
        return [f"{self.request}-{row}" for row in range(self.rows)]

    def filled_rows(self) -> list[list[str] | None]:
        """By row, the features that were filled with their default."""
        if not self.filled:
            return [None] * self.rows
        names: list[list[str]] = [[] for _ in range(self.rows)]
        for name, rows in self.filled.items():
            for row in rows:
                names[row].append(name)
        return [each or None for each in names]

    def feature_rows(self, width: int) -> Iterable[tuple[Any, ...]]:
        """One tuple of `width` features per row."""
        if self.numbers is not None:
            array, at = self.numbers
            return [tuple(array[at].tolist())]
        if not self.cells:
            return [(None,) * width] * self.rows
        return [self.cells] if self.rows == 1 else zip(*self.cells, strict=True)
