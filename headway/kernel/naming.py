"""Names that people give, and references to what bears them: `orders`, `orders@3`, `dv_01k...`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from headway.errors import Invalid
from headway.kernel.ids import kind_of

Version = TypeVar("Version", covariant=True)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")
_LONGEST_PATH = 1_000
_ENCODED, _SEPARATORS = re.compile("%([0-9A-Fa-f]{2})"), re.compile(r"[/\\]")


def checked_name(text: str, what: str) -> str:
    """`text` if it may name a `what`; raises `Invalid` otherwise."""
    if not _NAME.fullmatch(text) or kind_of(text):
        raise Invalid(
            f"{text[:100]!r} cannot name a {what}: "
            "take a letter, then up to 99 letters, digits, dots, dashes or underscores"
        )
    return text


def split_reference(text: str) -> tuple[str, int | None]:
    """`name` and the number behind `@`, or None for the newest."""
    name, separator, number = text.partition("@")
    if not separator:
        return name, None
    if not number.isdecimal() or len(number) > 9 or int(number) < 1:
        raise Invalid(f"{text[:100]!r} is no reference: after @ comes a version number, as in {name[:50]}@3")
    return name, int(number)


class Versions(Protocol[Version]):
    """Where the numbered versions of named lines are kept."""

    def get(self, identifier: str, /) -> Version | None: ...
    def of(self, name: str, number: int | None = None, /) -> Version | None: ...


def find_version(
    reference: str, prefix: str, versions: Versions[Version], newest: Callable[[str], Version | None]
) -> Version | None:
    """By id, which begins with `prefix`, by `name`, which is the `newest` of it, or by `name@number`; None when there
    is none. Raises `Invalid` for what is no reference."""
    if kind_of(reference) == prefix:
        return versions.get(reference)
    name, number = split_reference(reference)
    return newest(name) if number is None else versions.of(name, number)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no name in `known` comes near."""
    from difflib import get_close_matches  # noqa: PLC0415  # only who has mistyped a name waits for it

    matches = get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def checked_path(text: str) -> str:
    """`text` if it may name an artifact: names between slashes, none of which leads anywhere else, also not once it
    is decoded again, however often; raises `Invalid` otherwise. A per cent sign by itself is a character like any."""
    parts = text.split("/")
    fits = len(text) <= _LONGEST_PATH and text.isprintable() and "\\" not in text
    if not fits or any(part in ("", ".", "..") for part in parts) or _leads_elsewhere(text):
        raise Invalid(
            f"{text[:100]!r} cannot name an artifact: take up to {_LONGEST_PATH} characters, with names between slashes"
        )
    return text


def _leads_elsewhere(text: str) -> bool:
    while (decoded := _ENCODED.sub(lambda found: chr(int(found[1], 16)), text)) != text:
        if ".." in _SEPARATORS.split(decoded) or decoded[:1] in ("/", "\\"):
            return True
        text = decoded
    return False
