"""Which blobs are reachable: every digest that stands in a record which is kept.

A field that holds a blob is declared as `BlobDigest`; such a reference is *held*. Any other digest in a record, in a
text, under a key or in what a client told, is a *mention*, and keeps its blob just as well: what is collected is
decided by the bytes of the records, so that no field of any record can be forgotten (a conservative marking, as in
Boehm and Weiser 1988). Only what is held is expected to be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, get_args

import msgspec

from headway.errors import LedgerBroken
from headway.kernel.ids import kind_of
from headway.kernel.records import Record, Value

_MENTION = re.compile(r"b3:[0-9a-f]{64}")
_MENTION_BYTES = re.compile(_MENTION.pattern.encode())
_INDEX = re.compile(r"\[\d+\]")


class Reference(Value):
    """`place` is the path to a digest inside the record, such as `outputs[0].blob`."""

    digest: str
    record: str
    place: str
    held: bool


def digests(records: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Every digest in the records' canonical bytes -> the id of the first record that has it.

    Raises `LedgerBroken` for a record without bytes, which is damaged: nobody knows what it held.
    """
    found: dict[str, str] = {}
    for identifier, body in records:
        if not body:
            raise LedgerBroken(
                f"{identifier} cannot be read, so nobody knows which blobs it holds; run `headway ledger verify`, then "
                "restore the home from a backup",
                subject=identifier,
            )
        for mention in _MENTION_BYTES.findall(body):
            found.setdefault(mention.decode(), identifier)
    return found


def references(identifier: str, body: bytes) -> Iterator[Reference]:
    """Every digest in one record's canonical bytes, with its place."""
    if _MENTION_BYTES.search(body) is None:
        return
    held = blob_places().get(kind_of(identifier), frozenset())
    for place, text in _texts(msgspec.json.decode(body), ""):
        for digest in _MENTION.findall(text):
            yield Reference(digest=digest, record=identifier, place=place, held=_INDEX.sub("", place) in held)


@cache
def blob_places() -> dict[str, frozenset[str]]:
    """By id prefix of a record type: the paths of its fields that hold a blob, without indices."""
    return {kind.prefix: frozenset(_held(kind, "")) for kind in record_types()}


def record_types(root: type[Record] = Record) -> Iterator[type[Record]]:
    """Every kind of record that is declared, once the modules that declare them are imported."""
    for kind in root.__subclasses__():
        yield kind
        yield from record_types(kind)


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{place}.{key}" if place else key
            yield below, key
            yield from _texts(item, below)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{place}[{index}]")


def _held(declared: Any, place: str) -> Iterator[str]:
    """The paths below `place` at which the declared type says that a blob is held."""
    if any(isinstance(each, msgspec.Meta) and (each.extra or {}).get("holds") == "blob" for each in get_args(declared)):
        yield place
    elif isinstance(declared, type) and issubclass(declared, Value):
        for field in msgspec.structs.fields(declared):
            yield from _held(field.type, f"{place}.{field.encode_name}" if place else field.encode_name)
    else:
        for each in get_args(declared):
            yield from _held(each, place)
