"""Patterns for paths: `*` and `?` stay inside a name, `**` goes through folders, `[a-z]` is one of these.

A pattern without `/` is held against the name alone, wherever it is; one that names a folder takes all that is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from headway.errors import Invalid

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path matches one of the patterns; never, if there are none. Raises `Invalid` for one that is none."""
    if not patterns:
        return lambda path: False
    return re.compile("|".join(f"(?:{_translated(pattern)})" for pattern in patterns)).fullmatch  # type: ignore[return-value]


def _translated(pattern: str) -> str:
    text = pattern.strip("/") if pattern.strip("/") else ""
    if not text or ".." in text.split("/"):
        raise Invalid(f"{pattern[:100]!r} is no pattern for paths; write one such as 'train/**' or '*.png'")
    anchored = "" if "/" in pattern.rstrip("/") else r"(?:.*/)?"
    return anchored + "".join(_part(part) for part in _PARTS.findall(text)) + r"(?:/.*)?"


def _part(part: str) -> str:
    if part == "**/":
        return "(?:.*/)?"
    if part == "**":
        return ".*"
    if part == "*":
        return "[^/]*"
    if part == "?":
        return "[^/]"
    if part.startswith("[") and len(part) > 2:
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[").replace("&", r"\&").replace("~", r"\~")
        inner = "^/" + inner[1:] if inner.startswith("!") else inner.replace("^", r"\^")
        try:
            re.compile(f"[{inner}]")
        except re.error as error:
            raise Invalid(f"{part[:100]!r} in a pattern cannot be read: {error}") from None
        return f"[{inner}]"
    return re.escape(part)
