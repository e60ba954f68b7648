"""Pages: keyset paging, because an offset drifts while others write.

Lists go by id, newest first. Searches have orders of their own: the token of their next page holds the place of the
last item in that order, and a digest of the question, so that it leads on in no other one.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import blake3
import msgspec

from headway.errors import Invalid
from headway.kernel.ids import made_before
from headway.kernel.records import Record, Value, encode

Item = TypeVar("Item")
Made = TypeVar("Made", bound=Record)
Place = tuple[tuple[int, str | int | float | None], ...]
"""Where an item stands in an order, one entry for each thing ordered by: 0 and its value, `NAN` or `ABSENT`."""
NAN, ABSENT = 1, 2
MOST = 1000
_SEAL_BYTES = 12
_places = msgspec.msgpack.Decoder(Place)


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


def page_token(question: msgspec.Struct, place: Place) -> str:
    """Text that leads to what is behind `place` in the answers to `question`."""
    packed = msgspec.msgpack.encode(place)
    return urlsafe_b64encode(_seal(question, packed) + packed).decode()


def place_in(token: str, question: msgspec.Struct) -> Place:
    """The place that `page_token` was given; raises `Invalid` for a token that is damaged, or of another question."""
    try:
        data = urlsafe_b64decode(token)
        seal, packed = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        if seal == _seal(question, packed) and urlsafe_b64encode(data).decode() == token:
            return _places.decode(packed)
    except (ValueError, msgspec.DecodeError):
        pass
    raise Invalid("the page token is none that this search gave; begin again without one")


def _seal(question: msgspec.Struct, packed: bytes) -> bytes:
    """Against what is damaged or mixed up, not against forgery: a place tells nothing that the search would not."""
    return blake3.blake3(encode(question) + packed).digest(length=_SEAL_BYTES)
