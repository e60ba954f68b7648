"""Requests of one row of numbers that were answered together: as they wait to be written, thousands of them, and as a
segment takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, compress
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.serving.loaded import LoadedTable

_ROW_BYTES = 3 * 8 + 32
"""Of score, time and latency, and an id as 32 letters of a joined text."""
_TEXT_BYTES = 100
"""A short text by itself, and its place in a list."""


class Answered(msgspec.Struct, gc=False):
    """In place of an `Exchange` each: what one turn of the event loop has answered, all with the same release. It holds
    as little as can be."""

    table: LoadedTable
    received_ns: int
    size: int
    """Bytes of the bodies: the measure of what they hold in memory."""
    release: str
    latency_us: float
    ids: Sequence[str]
    own_keys: list[str] | None
    """None where the ids are the keys, too."""
    numbers: NDArray[Any]
    """Their features, a row each."""
    scores: NDArray[np.float64]

    @property
    def rows(self) -> int:
        return len(self.scores)

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

    __slots__ = ("letters", "text")

    def __init__(self, ids: Sequence[str], letters: int) -> None:
        """Or several of them in each, joined."""
        self.text, self.letters = "".join(ids), letters

    def __len__(self) -> int:
        return len(self.text) // self.letters

    def __iter__(self) -> Iterator[str]:
        text, letters = self.text, self.letters
        return iter([text[at : at + letters] for at in range(0, len(text), letters)])

    def __getitem__(self, at: Any) -> Any:
        if not 0 <= at < len(self):
            raise IndexError
        return self.text[at * self.letters : (at + 1) * self.letters]


def _joined(ids: Sequence[Sequence[str]]) -> Sequence[str]:
    alike = [each for each in ids if isinstance(each, JoinedIds) and each.letters == getattr(ids[0], "letters", 0)]
    if len(alike) < len(ids):
        return list(chain.from_iterable(ids))
    return JoinedIds([each.text for each in alike], alike[0].letters)


class AnsweredRows:
    """All that one release has answered in several turns, with what a segment asks of an `Exchange`: asking it of each
    turn by itself would cost more than all else where most turns have one row. It takes a fifth of the memory, too.

    `size` is in bytes, as it waits to be written.
    """

    event_us = probabilities = labels = None
    status, error, fallback, sampled, request_rows = 200, "", "", True, 1

    def __init__(self, table: LoadedTable, release: str, answered: Sequence[Answered]) -> None:
        self.table, self.release, counts = table, release, [each.rows for each in answered]
        self.rows = sum(counts)
        self.numbers = np.concatenate([each.numbers for each in answered])
        self.scores = np.concatenate([each.scores for each in answered])
        self._received_ns = np.repeat([each.received_ns for each in answered], counts)
        self._latency_us = np.repeat([each.latency_us for each in answered], counts)
        self._ids = _joined([each.ids for each in answered])
        self._keys: list[str | None] | None = None
        if any(each.own_keys for each in answered):
            self._keys = [key or None for each in answered for key in (each.own_keys or each.ids)]
        self.size = self.numbers.nbytes + self.rows * _ROW_BYTES
        if not isinstance(self._ids, JoinedIds):
            self.size += self.rows * _TEXT_BYTES
        if self._keys:
            self.size += self.rows * _TEXT_BYTES

    def received_rows(self) -> list[int]:
        received_ns: list[int] = self._received_ns.tolist()
        return received_ns

    def latency_rows(self) -> list[float]:
        latency_us: list[float] = self._latency_us.tolist()
        return latency_us

    def requests(self) -> list[str]:
        return self._texts

    def keys(self) -> list[str | None]:
        return self._keys or [*self._texts]

    def prediction_ids(self) -> list[str]:
        return self._texts

    @cached_property
    def _texts(self) -> list[str]:
        """Made when they are asked for: until then they wait, and take less."""
        return list(self._ids)

    def score_rows(self) -> list[float]:
        scores: list[float] = self.scores.tolist()
        return scores

    def filled_rows(self) -> list[list[str] | None]:
        return [None] * self.rows

    skewed_rows = filled_rows

    def feature_rows(self, width: int) -> Iterable[tuple[Any, ...]]:
        return map(tuple, self.numbers.tolist())


def by_release(answered: Iterable[Answered]) -> list[AnsweredRows]:
    found: defaultdict[tuple[LoadedTable, str], list[Answered]] = defaultdict(list)
    for each in answered:
        found[each.table, each.release].append(each)
    return [AnsweredRows(table, release, own) for (table, release), own in found.items()]
