"""Arguments that need more than click's own types."""

from __future__ import annotations

from collections.abc import Sequence

from headway.errors import Invalid


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """`KEY=VALUE` texts as a dict; raises `Invalid` for a text without `=` and for a key that is there twice."""
    found: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise Invalid(f"{option} takes KEY=VALUE, not {text!r}; write {option} {key or 'rows'}=1000")
        if key in found:
            raise Invalid(f"{option} {key}=... is there twice; give it once")
        found[key] = value
    return found
