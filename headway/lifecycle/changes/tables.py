"""Tables of TOML as values, with mistakes told by their place: `[environments.production] approvals: ...`."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import date, datetime, time
from typing import Any, TypeVar

import msgspec

from headway.errors import BadSettings, Invalid
from headway.kernel.naming import checked_name, nearest
from headway.kernel.records import Value, encode

Spec = TypeVar("Spec", bound=Value)
Table = dict[str, Any]

_LARGEST = 2**53
_DEEPEST = 20
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)


def sections(whole: Table, section: str, kind: str) -> dict[str, Table]:
    """The tables `[section.name]` by name; empty when there are none."""
    tables = table(whole.get(section, {}), f"[{section}]")
    return {named(name, kind, f"[{section}]"): table(each, f"[{section}.{name}]") for name, each in tables.items()}


def table(value: Any, at: str) -> Table:
    if not isinstance(value, dict):
        raise BadSettings(f"{at} must be a table, not {told(value)}")
    return value


def must(holds: bool, message: str) -> None:
    if not holds:
        raise BadSettings(message)


def named(name: str, kind: str, at: str) -> str:
    try:
        return checked_name(name, kind)
    except Invalid as error:
        raise BadSettings(f"{at}: {error}") from None


def check_keys(given: Table, known: Collection[str], at: str) -> None:
    for key in given:
        if key not in known:
            meant = nearest(key, known) or f"; it takes: {', '.join(known)}"
            raise BadSettings(f"{at} has an unknown key {key[:100]!r}{meant}")


def check_values(value: Any, at: str, depth: int = 0) -> None:
    """Refuse what JSON, and so a record, cannot hold."""
    if isinstance(value, datetime | date | time):
        raise BadSettings(f'{at}: write dates and times as text, "{value.isoformat()}"')
    if isinstance(value, float) and not math.isfinite(value):
        raise BadSettings(f"{at} must be a finite number, not {value}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise BadSettings(f"{at}: a number may be at most 2^53 in size")
    if depth > _DEEPEST:
        raise BadSettings(f"{at[:100]}... is nested too deeply")
    if isinstance(value, dict):
        for key, each in value.items():
            check_values(each, f"{at}.{key}" if at else key, depth + 1)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            check_values(each, f"{at}[{index}]", depth + 1)


def convert(given: Table, kind: type[Spec], at: str) -> Spec:
    """`given` as a value of `kind`; raises `BadSettings` for an unknown key, a wrong type or a missing key."""
    check_keys(given, kind.__struct_fields__, at)
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        what, path = (found["what"], found["path"]) if found else (str(error), None)
        missing = re.fullmatch(r"Object missing required field `(.*)`", what)
        if missing:
            raise BadSettings(f"{at} lacks {missing[1]!r}") from None
        place = f"{at} {path}" if path else at
        raise BadSettings(f"{place}: {what[0].lower()}{what[1:].replace('`', '')}") from None


def texts(value: Any, at: str) -> dict[str, str]:
    """A table of params as texts: numbers, lists and tables as JSON."""
    return {key: each if isinstance(each, str) else encode(each).decode() for key, each in table(value, at).items()}


def told(value: Any) -> str:
    names = {dict: "a table", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)
