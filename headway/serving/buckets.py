"""How full the buckets of callers are: kept by one process, or by all workers of a server in memory that they share.

A bucket is one number, the moment at which it would be full again by the clock that all processes of a machine have.
"""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

MOST_CALLERS = 10_000
"""Callers that are told apart; beyond them the one not seen for longest is forgotten, and begins anew."""
_SLOTS, _WINDOW = 2**14, 8
"""A caller has one of `_WINDOW` slots in a row."""
_MARK, _EVERYONE, _HEAD = 0, 1, 2
"""Numbers before the slots: what the buckets are kept for, and the bucket of all callers together."""


class Buckets(Protocol):
    everyone: float

    def begin(self, mark: int) -> None:
        """Empty all of them, if they were kept for anything but `mark`."""
        ...

    def get(self, caller: bytes) -> float: ...

    def put(self, caller: bytes, full_ns: float) -> None: ...


class OwnBuckets:
    def __init__(self) -> None:
        self.everyone = 0.0
        self._callers: OrderedDict[int, float] = OrderedDict()

    def begin(self, mark: int) -> None:
        self.everyone = 0.0
        self._callers.clear()

    def get(self, caller: bytes) -> float:
        return self._callers.get(hash(caller), 0.0)  # a name may be long, its hash is not

    def put(self, caller: bytes, full_ns: float) -> None:
        name = hash(caller)
        self._callers[name] = full_ns
        self._callers.move_to_end(name)
        if len(self._callers) > MOST_CALLERS:
            self._callers.popitem(last=False)


class SharedBuckets:
    """In a file that the workers of one server map. Each number is read and written whole; two workers that let in the
    same caller within the same microseconds may count one request for two.

    Of callers that fall on the same slots, the one whose bucket was full first is forgotten.
    """

    def __init__(self, file: Path) -> None:
        size = (_HEAD + 2 * _SLOTS) * 8
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(opened, size)
            numbers = memoryview(mmap.mmap(opened, size))
        finally:
            os.close(opened)
        self._names = numbers[: (_HEAD + _SLOTS) * 8].cast("Q")
        self._moments = numbers[(_HEAD + _SLOTS) * 8 :].cast("d")
        self._everyone = numbers[_EVERYONE * 8 : _HEAD * 8].cast("d")

    @property
    def everyone(self) -> float:
        return self._everyone[0]

    @everyone.setter
    def everyone(self, full_ns: float) -> None:
        self._everyone[0] = full_ns

    def begin(self, mark: int) -> None:
        if self._names[_MARK] != mark:
            self._names[_MARK] = mark
            self._everyone[0] = 0.0
            for slot in range(_SLOTS):
                self._moments[slot] = 0.0

    def get(self, caller: bytes) -> float:
        name = _named(caller)
        slot = self._slot(name)
        return 0.0 if slot is None else self._moments[slot]

    def put(self, caller: bytes, full_ns: float) -> None:
        name = _named(caller)
        slot = self._slot(name)
        if slot is None:
            slot = min(_window(name), key=self._moments.__getitem__)
            self._names[_HEAD + slot] = name
        self._moments[slot] = full_ns

    def _slot(self, name: int) -> int | None:
        return next((slot for slot in _window(name) if self._names[_HEAD + slot] == name), None)


def _named(caller: bytes) -> int:
    """The same in every process, and never 0, which is an empty slot."""
    return int.from_bytes(blake2b(caller, digest_size=8).digest()) or 1


def _window(name: int) -> list[int]:
    return [(name + place) % _SLOTS for place in range(_WINDOW)]
