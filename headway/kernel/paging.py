"""Pages: keyset paging by id, newest first, because an offset drifts while others write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from headway.errors import Invalid
from headway.kernel.ids import made_before
from headway.kernel.records import Record, Value

Item = TypeVar("Item")
Made = TypeVar("Made", bound=Record)
MOST = 1000


class Page(Value, Generic[Item]):
    """`items` newest first; `next` is the `before` of the next page, or None at the end."""

    items: tuple[Item, ...]
    next: str | None = None


def since(identifier: str, load: Callable[[str | None], Page[Made]]) -> Iterator[Made]:
    """The records that are not older than `identifier`, newest first; `load` takes the `before` of a page, and is asked
    for no more pages than are used up."""
    before: str | None = None
    while True:
        page = load(before)
        for record in page.items:
            if made_before(record.id, identifier):
                return
            yield record
        if page.next is None:
            return
        before = page.next


def every(load: Callable[[str | None], Page[Made]]) -> Iterator[Made]:
    """All records of all pages, newest first; `load` takes the `before` of a page."""
    before: str | None = None
    while True:
        page = load(before)
        yield from page.items
        if page.next is None:
            return
        before = page.next


def checked(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise Invalid(f"limit must be from 1 to {MOST}, not {limit}")
    return limit
