"""One form for each plain value, so that equal values and only those get the same digest.

Types are told apart (1, 1.0 and True differ, as do a list and a tuple), and a dict keeps its order, since a function
may depend on it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgspec

from headway.kernel.records import digest, encode

_BY_REPR = (
    float, complex, date, datetime, time, timedelta, timezone, range, slice, re.Pattern, type(Ellipsis),
)  # fmt: skip
_BY_REPR_TOO = {("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"), ("zoneinfo", "ZoneInfo")}
"""Not imported for being told from others."""
_EXACT_IN_JSON = 2**53


def _by_name(path: PurePath) -> Any:
    return ["path", ascii(str(path))]


def canonical(value: Any, other: Callable[[Any], Any], path: Callable[[PurePath], Any] = _by_name) -> Any:
    """`value` as JSON values that tell it apart; `other` does so for what is not plain, or raises, and `path` for
    paths."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if abs(value) < _EXACT_IN_JSON else ["int", hex(value)]
    if kind is str:
        return value if value.isascii() else ["str", ascii(value)]
    if kind in (bytes, bytearray):
        return [kind.__name__, digest(bytes(value))]
    if kind in (list, tuple):
        return [kind.__name__, [canonical(item, other, path) for item in value]]
    if kind in (set, frozenset):
        return [kind.__name__, sorted(digest(encode(canonical(item, other, path))) for item in value)]
    if kind is dict:
        return ["dict", [[canonical(k, other, path), canonical(item, other, path)] for k, item in value.items()]]
    if kind in _BY_REPR or (kind.__module__, kind.__qualname__) in _BY_REPR_TOO:
        return [kind.__name__, repr(value)]
    if isinstance(value, PurePath):
        return path(value)
    if isinstance(value, Enum):
        return ["enum", other(kind), value.name, canonical(value.value, other, path)]
    return _fields(value, other, path)


def _fields(value: Any, other: Callable[[Any], Any], path: Callable[[PurePath], Any]) -> Any:
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in dataclasses.fields(value))
    else:
        return other(value)
    return ["fields", other(type(value)), [[name, canonical(getattr(value, name), other, path)] for name in names]]
