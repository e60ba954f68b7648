"""Conditions carried out on values in memory."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from headway.lifecycle.runs.search import Condition, Field, Kind, Operator

Item = TypeVar("Item")
Values = Callable[[Item, Field], Sequence[Any]]
"""The values of a field: none when it is absent, several for the inputs of a run."""

_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.GREATER: operator.gt,
    Operator.GREATER_EQUAL: operator.ge,
    Operator.LESS: operator.lt,
    Operator.LESS_EQUAL: operator.le,
    Operator.LIKE: lambda text, pattern: like(text, pattern),
    Operator.ILIKE: lambda text, pattern: like(text.lower(), pattern.lower()),
    Operator.IN: lambda text, among: text in among,
    Operator.NOT_IN: lambda text, among: text not in among,
}


def fits(item: Item, conditions: Iterable[Condition], values: Values[Item]) -> bool:
    """Whether all conditions hold. What is absent, and NaN, fits no comparison."""
    return all(_holds(condition, values(item, condition.field)) for condition in conditions)


def only_texts(conditions: Iterable[Condition], name: str) -> frozenset[str] | None:
    """The only texts that an attribute can have where all conditions hold; None where it can have others."""
    found: frozenset[str] | None = None
    for condition in conditions:
        if condition.field != Field(kind=Kind.ATTRIBUTE, name=name):
            continue
        if condition.operator is Operator.EQUAL and isinstance(condition.value, str):
            texts = frozenset({condition.value})
        elif condition.operator is Operator.IN and isinstance(condition.value, tuple):
            texts = frozenset(condition.value)
        else:
            continue
        found = texts if found is None else found & texts
    return found


def _holds(condition: Condition, found: Sequence[Any]) -> bool:
    if condition.operator is Operator.IS_NULL:
        return not found
    if condition.operator is Operator.IS_NOT_NULL:
        return bool(found)
    compare = _COMPARE[condition.operator]
    comparable = (value for value in found if not _is_nan(value) and _alike(value, condition.value))
    return any(compare(value, condition.value) for value in comparable)


def like(text: str, pattern: str) -> bool:
    """SQL's LIKE, which minds case: % is any text, _ any character. Linear in the text for each part between two %."""
    first, *rest = pattern.split("%")
    if not rest:
        return len(text) == len(pattern) and _same(text, pattern, 0)
    if not _same(text, first, 0):
        return False
    *middle, last = rest
    place = len(first)
    for part in middle:
        place = _find(text, part, place)
        if place < 0:
            return False
        place += len(part)
    return len(text) - len(last) >= place and _same(text, last, len(text) - len(last))


def _find(text: str, part: str, start: int) -> int:
    if "_" not in part:
        return text.find(part, start)
    return next((place for place in range(start, len(text) - len(part) + 1) if _same(text, part, place)), -1)


def _same(text: str, part: str, place: int) -> bool:
    if "_" not in part:
        return text.startswith(part, place)
    piece = text[place : place + len(part)]
    return len(piece) == len(part) and all(mine in ("_", theirs) for mine, theirs in zip(part, piece, strict=True))


def _alike(value: Any, wanted: Any) -> bool:
    return isinstance(wanted, tuple) or isinstance(value, str) is isinstance(wanted, str)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
