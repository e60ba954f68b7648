"""Items in memory put in an order, a page at a time: each page begins behind the place where the last one ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key, partial
from typing import Any, Generic, TypeVar

from msgspec import Struct

from headway.kernel.paging import ABSENT, NAN, Page, Place, page_token, place_in
from headway.lifecycle.runs.matching import Values
from headway.lifecycle.runs.search import Order

Item = TypeVar("Item")


@dataclass(frozen=True)
class By(Generic[Item]):
    """One thing to order by. Of `value`, None is absent."""

    value: Callable[[Item], Any]
    descending: bool = False


def by(orders: Iterable[Order], values: Values[Item]) -> list[By[Item]]:
    """The orders of a search, carried out on values in memory."""
    return [By(partial(_first, values, order), order.descending) for order in orders]


def paged(
    items: Iterable[Item], keys: Sequence[By[Item]], question: Struct, *, limit: int, after: str = ""
) -> Page[Item]:
    """One page of `items` in the order of `keys`, NaN after all numbers and what is absent after that, either way. The
    last of the keys must be different for all of them. Raises `Invalid` for a token of another question."""
    compare = partial(_compared, [key.descending for key in keys])
    found = [(_place(item, keys), item) for item in items]
    if after:
        last = place_in(after, question)
        found = [pair for pair in found if compare(pair[0], last) > 0]

    def in_turn(one: tuple[Place, Item], other: tuple[Place, Item]) -> int:
        return compare(one[0], other[0])

    found.sort(key=cmp_to_key(in_turn))
    following = page_token(question, found[limit - 1][0]) if len(found) > limit else None
    return Page(items=tuple(item for _, item in found[:limit]), next=following)


def _place(item: Item, keys: Sequence[By[Item]]) -> Place:
    return tuple(_ranked(key.value(item)) for key in keys)


def _ranked(value: Any) -> tuple[int, Any]:
    if value is None:
        return ABSENT, None
    return (NAN, None) if isinstance(value, float) and math.isnan(value) else (0, value)


def _compared(descending: Sequence[bool], one: Place, other: Place) -> int:
    for falls, (rank, value), (other_rank, other_value) in zip(descending, one, other, strict=True):
        if rank != other_rank:
            return rank - other_rank
        if value != other_value:
            return 1 if (value > other_value) is not falls else -1  # type: ignore[operator]
    return 0


def _first(values: Values[Item], order: Order, item: Item) -> Any:
    found = values(item, order.field)
    return found[0] if found else None
