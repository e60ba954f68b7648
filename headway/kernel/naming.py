"""Names that people give, and references to what bears them: `orders`, `orders@3`, `dv_01k...`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from headway.errors import Invalid
from headway.kernel.ids import kind_of

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")


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


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no name in `known` comes near."""
    from difflib import get_close_matches  # noqa: PLC0415  # only who has mistyped a name waits for it

    matches = get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
