"""What one turn of the event loop has read is answered together at its end: no timer, nobody waits for a later one.

Requests of one row of numbers are scored in one run for each release (`quick.py`); every other one that was put off is
answered by itself, in the order in which they came. Where a model failed and what stands in for it runs in a worker,
who asked is told so, and waits for the answer without keeping the others of its turn.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import compress
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.serving.capture.answered import Answered, JoinedIds
from headway.serving.http.encodings import packed, packed_later
from headway.serving.inference import Inference
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.messages import Answer, Head
from headway.serving.quick import QuickDialect, QuickRequest, QuickRoute, Telling, quick_route

MOST_BYTES = 16 * 1024
"""A larger body is answered at once: it costs so much that sharing a run saves nothing."""
_MOST_TOGETHER = 64
_ID_BYTES, _ID_LETTERS = 16, 32
_UNKNOWN: Any = object()

log = logging.getLogger(__name__)
Said = Answer | Awaitable[Answer]
"""An answer, or one that has to be waited for."""
Tell = Callable[[Said], None]
PutOff = tuple[Inference, LoadedTable, Head, bytes, bytes, Tell, QuickDialect]
"""Head, body, and the client's address, who waits, and the language; the head may be that of other requests, too."""


class Group:
    """Requests of one release whose rows stand in one form, and which want it back in one form."""

    def __init__(
        self, inference: Inference, table: LoadedTable, route: QuickRoute, telling: Telling, *, blobs: bool
    ) -> None:
        self.inference, self.table, self.route, self.telling, self.in_blobs = inference, table, route, telling, blobs
        self.places: list[int] = []
        """Where they stand among those that were put off."""
        self.ids: list[str] = []
        self.keys: list[str] = []
        self.rows: list[Any] = []
        self.has_ids = self.has_keys = False
        """Whether a request brings its own."""

    def numbers(self) -> NDArray[Any] | None:
        """The rows as the model takes them. Those that it may not take are left out of the group; None when none is
        left."""
        route, rows = self.route, self.rows
        if len(rows) == 1:
            return route.one(rows[0], blobs=self.in_blobs)
        numbers = route.numbers(rows, blobs=self.in_blobs)
        kept = route.keeping(numbers)
        if kept is not None:
            self.keep(kept)
            numbers = numbers[kept]
        return route.typed(numbers) if self.places else None

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Leave the others out."""
        lists: tuple[list[Any], ...] = (self.places, self.ids, self.keys, self.rows)
        for each in lists:
            each[:] = list(compress(each, kept))


class Turn:
    """One for all deployments of a process; used on the event loop alone."""

    def __init__(self) -> None:
        self._put_off: list[PutOff] = []
        self._began_ns = self._received_ns = 0

    def put_off(self, asked: PutOff) -> None:
        if not self._put_off:
            self._began_ns, self._received_ns = time.perf_counter_ns(), time.time_ns()
            asyncio.get_running_loop().call_soon(self.end)
        self._put_off.append(asked)

    def end(self) -> None:
        """Answer all that was put off. It may be called before its time."""
        put_off, self._put_off = self._put_off, []
        for start in range(0, len(put_off), _MOST_TOGETHER):
            part = put_off[start : start + _MOST_TOGETHER]
            for (*_, tell, _), answer in zip(part, self._answers(part), strict=True):
                try:
                    tell(answer)
                except Exception:  # whatever has become of one connection, the others wait for theirs
                    log.exception("answer not sent")

    def _answers(self, part: list[PutOff]) -> list[Said]:
        answers: dict[int, Said] = {}
        for place, (inference, table, head, _, peer, _, dialect) in enumerate(part):
            if head.deadline or not inference.door.is_open(table.table.limits):
                refusal = inference.turn_away(table, self._own(head, peer), dialect)
                if refusal:
                    answers[place] = refusal
        try:
            for group in _groups(part, answers):
                self._answer(group, part, answers)
        except Exception:  # those that have no answer yet get theirs in the general way
            log.exception("turn failed")
        for place, (inference, table, head, body, peer, _, dialect) in enumerate(part):
            if place not in answers:
                answers[place] = inference.answer(table, body, self._own(head, peer), dialect)
            if head.accept_encoding:
                answers[place] = _packed(answers[place], head.accept_encoding)
        return [answers[place] for place in range(len(part))]

    def _answer(self, group: Group, part: list[PutOff], answers: dict[int, Said]) -> None:
        route, numbers = group.route, group.numbers()
        if numbers is None:
            return
        try:
            outputs = route.run(numbers)
        except Exception:  # maybe for one row only: each is asked for by itself
            return
        if outputs is None:
            return
        told = route.tell(group.telling, group.ids, outputs)
        self._settle(group, part, numbers, route.scores(outputs))
        answers.update(zip(group.places, told, strict=True))

    def _settle(self, group: Group, part: list[PutOff], numbers: NDArray[Any], scores: NDArray[np.float64]) -> None:
        latency_us = (time.perf_counter_ns() - self._began_ns) / 1000
        size = sum([len(part[place][3]) for place in group.places])
        ids = group.ids if group.has_ids else JoinedIds(group.ids, _ID_LETTERS)
        keys = group.keys if group.has_keys else None
        group.inference.settle_answered(
            Answered(group.table, self._received_ns, size, group.route.release, latency_us, ids, keys, numbers, scores)
        )

    def _own(self, head: Head, peer: bytes) -> Head:
        """A head that may be changed, and that knows when and whence its request came."""
        return head if head.arrived_ns else msgspec.structs.replace(head, peer=peer, arrived_ns=self._began_ns)


def _packed(answer: Said, accepted: bytes) -> Said:
    return packed(answer, accepted) if isinstance(answer, Answer) else packed_later(answer, accepted)


def _groups(part: list[PutOff], answers: dict[int, Said]) -> Iterable[Group]:
    """The usual requests among those without an answer."""
    groups: dict[tuple[int, Telling, bool], Group] = {}
    fresh = os.urandom(_ID_BYTES * len(part)).hex()
    for place, asked in enumerate(part):
        if place not in answers:
            _sort(groups, place, asked, fresh[place * _ID_LETTERS : (place + 1) * _ID_LETTERS])
    return groups.values()


def _sort(groups: dict[tuple[int, Telling, bool], Group], place: int, put_off: PutOff, fresh: str) -> None:
    """Into its group, if it is a usual request; `fresh` is its id if it brings none."""
    inference, table, head, body, _, _, dialect = put_off
    usual = dialect.usual(body, head)
    if usual is None:
        return
    asked, blob, telling = usual
    key = identifier = asked.id or fresh
    if asked.parameters is not None and asked.parameters.key is not None:
        key = str(asked.parameters.key)
    elif (head.key or head.named) and (brought := table.key_in(head)):
        key = brought
    elif table.keyed is not None:
        found = _key_in_row(table, table.keyed, asked, blob)
        if found is None:
            return
        key = found
    route = _quick(table, table.choose(key))
    if route is None:
        return
    row = route.values(asked) if blob is None else route.blob(asked, blob)
    if row is None:
        return
    sort = (id(route), telling, blob is None)
    group = groups.get(sort)
    if group is None:
        group = groups[sort] = Group(inference, table, route, telling, blobs=blob is not None)
    if asked.id:
        group.has_ids = True
    if key is not identifier:
        group.has_keys = True
    group.places.append(place)
    group.ids.append(identifier)
    group.keys.append(key)
    group.rows.append(row)


def _key_in_row(table: LoadedTable, keyed: LoadedRoute, asked: QuickRequest, blob: bytes | None) -> str | None:
    """As `LoadedTable.key_of` has it of a batch; None where only the general way can tell."""
    reader = _quick(table, keyed)
    return reader.key(asked, blob, table.table.sticky.feature) if reader else None


def _quick(table: LoadedTable, loaded: LoadedRoute) -> QuickRoute | None:
    release = loaded.route.release
    found: QuickRoute | None = table.quick.get(release, _UNKNOWN)
    if found is _UNKNOWN:
        found = table.quick[release] = quick_route(table.table.deployment, loaded)
    return found
