"""What a search may choose from, as it is written: `(1, 10)`, `(0.001, 0.1, "log")`, `["a", "b"]`, or on the command
line `1..10`, `0.001..0.1 log`, `a|b`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from headway.errors import Invalid
from headway.kernel.records import Value

_RANGE = re.compile(r"\s*(?P<low>[^.\s]\S*?)\s*\.\.\s*(?P<high>\S+?)(?P<log>\s+log)?\s*")


class Scale(Value, tag="scale"):
    """Numbers from `low` to `high`, both included, whole ones if `whole`; with `log` even on a logarithmic scale."""

    low: float
    high: float
    whole: bool = False
    log: bool = False


class Choice(Value, tag="choice"):
    """One of a few values that JSON can say."""

    values: tuple[Any, ...]


Dimension = Scale | Choice


def read_space(space: Mapping[str, Any]) -> dict[str, Dimension]:
    """Raises `Invalid` naming the param that cannot be read."""
    if not space:
        raise Invalid("there is nothing to search: name at least one param and what it may be")
    return {name: _dimension(name, given) for name, given in space.items()}


def _dimension(name: str, given: Any) -> Dimension:
    if isinstance(given, Scale | Choice):
        return given
    if isinstance(given, list) and given and all(isinstance(each, str | int | float | bool | None) for each in given):
        return Choice(values=tuple(given))
    if isinstance(given, tuple) and len(given) in (2, 3) and given[2:] in ((), ("log",)):
        return _scale(name, given[0], given[1], log=len(given) == 3)
    raise Invalid(f'{name} may be (low, high), (low, high, "log") or a list of values, not {given!r:.100}')


def _scale(name: str, low: Any, high: Any, *, log: bool) -> Scale:
    numbers = [each for each in (low, high) if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(numbers) < 2 or not low < high or not abs(low) + abs(high) < float("inf"):
        raise Invalid(f"{name} takes two finite numbers, the lower one first, not {low!r:.50} and {high!r:.50}")
    if log and low <= 0:
        raise Invalid(f"{name} on a logarithmic scale begins above 0, not at {low}")
    return Scale(low=low, high=high, whole=isinstance(low, int) and isinstance(high, int), log=log)


def parsed_space(texts: Mapping[str, str]) -> dict[str, Dimension]:
    """As `read_space`, for what was typed."""
    return read_space({name: _parsed(text) for name, text in texts.items()})


def _parsed(text: str) -> Any:
    found = _RANGE.fullmatch(text)
    if found:
        ends = _value(found["low"]), _value(found["high"])
        return (*ends, "log") if found["log"] else ends
    return [_value(each.strip()) for each in text.split("|")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
