"""Pages: keyset paging by id, newest first, because an offset drifts while others write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from headway.errors import Invalid
from headway.kernel.records import Value

Item = TypeVar("Item")
MOST = 1000


class Page(Value, Generic[Item]):
    """`items` newest first; `next` is the `before` of the next page, or None at the end."""

    items: tuple[Item, ...]
    next: str | None = None


def every(load: Callable[[str | None], Page[Item]]) -> Iterator[Item]:
    """All items, newest first; `load` takes the `before` of a page, and is asked for no more pages than are used up."""
    page = load(None)
    yield from page.items
    while page.next:
        page = load(page.next)
        yield from page.items


def checked(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise Invalid(f"limit must be from 1 to {MOST}, not {limit}")
    return limit
