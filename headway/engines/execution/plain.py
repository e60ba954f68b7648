"""Values that a key can tell apart and that have no format of their own, on their way to another process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

Node = list[Any]

_TEXTS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "fraction": (Fraction, str, Fraction),
    "uuid": (UUID, str, UUID),
    "complex": (complex, repr, complex),
    "zone": (ZoneInfo, str, ZoneInfo),
}


def plain_node(value: Any, inner: Callable[[Any], Node]) -> Node | None:
    """`value` as a node, its parts by `inner`; None for what is of none of these kinds."""
    kind = type(value)
    for name, (of, text, _) in _TEXTS.items():
        if kind is of and not (kind is datetime and isinstance(value.tzinfo, ZoneInfo)):
            return [name, text(value)]
    if kind is datetime:
        return ["zoned", value.replace(tzinfo=None).isoformat(), str(value.tzinfo), value.fold]
    if kind is timedelta:
        return ["timedelta", value.days, value.seconds, value.microseconds]
    if kind is range:
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, PurePath):
        return ["path", str(value)]
    if kind in (set, frozenset):
        return [kind.__name__, [inner(item) for item in value]]
    if isinstance(value, Enum):
        return ["enum", inner(kind), value.name]
    if isinstance(value, msgspec.Struct):
        return ["fields", inner(kind), {name: inner(getattr(value, name)) for name in value.__struct_fields__}]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [
            "fields",
            inner(kind),
            {each.name: inner(getattr(value, each.name)) for each in dataclasses.fields(value)},
        ]
    return None


def plain_value(node: Node, inner: Callable[[Node], Any]) -> Any:
    """What `plain_node` was given, of the same content."""
    kind, *told = node
    if kind in _TEXTS:
        return _TEXTS[kind][2](told[0])
    if kind == "zoned":
        return datetime.fromisoformat(told[0]).replace(tzinfo=ZoneInfo(told[1]), fold=told[2])
    if kind in ("set", "frozenset"):
        return (set if kind == "set" else frozenset)(inner(item) for item in told[0])
    if kind == "enum":
        return inner(told[0])[told[1]]
    if kind == "fields":
        return _with_fields(inner(told[0]), {name: inner(each) for name, each in told[1].items()})
    made: dict[str, Callable[..., Any]] = {"timedelta": timedelta, "range": range, "path": Path}
    return made[kind](*told)


def _with_fields(cls: type, fields: dict[str, Any]) -> Any:
    if issubclass(cls, msgspec.Struct):
        return cls(**fields)
    made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)  # also of a frozen one; __post_init__ has been there already
    return made
