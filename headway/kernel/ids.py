"""Identifiers: a prefix that names the kind, then 48 bits of milliseconds and 80 random bits in base 32."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from blake3 import blake3

from headway.kernel.clock import Clock

Ids = Callable[[str], str]
"""Makes a new id for a prefix: `ids("ro") -> "ro_01k..."`."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
_LENGTH = 26


def time_sorted(clock: Clock) -> Ids:
    """Ids that sort by time of creation (the layout of ULID, in lower case)."""

    def new(prefix: str) -> str:
        return _written(prefix, clock.now(), int.from_bytes(os.urandom(10)))

    return new


def derived(prefix: str, made_at: datetime, name: str) -> str:
    """The one id of what was made elsewhere, at `made_at` and as `name`: the same at every import, and it sorts by the
    time it was made there."""
    return _written(prefix, made_at, int.from_bytes(blake3(f"{prefix}/{name}".encode()).digest(length=10)))


def _written(prefix: str, at: datetime, rest: int) -> str:
    number = max(0, int(at.timestamp() * 1000)) << 80 | rest
    return prefix + "_" + "".join(_ALPHABET[number >> 5 * place & 31] for place in range(_LENGTH - 1, -1, -1))


def made_before(identifier: str, other: str) -> bool:
    """Whether `identifier` is older than `other`, by the time that stands in both."""
    return identifier.rpartition("_")[2] < other.rpartition("_")[2]


def kind_of(identifier: str) -> str:
    """The prefix of an id, or an empty string for a text that is no id."""
    prefix, separator, rest = identifier.partition("_")
    return prefix if separator and len(rest) == _LENGTH else ""
