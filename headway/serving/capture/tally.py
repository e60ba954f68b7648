"""What writing captured rows finds out about them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Tally(NamedTuple):
    rows: int
    non_finite: int
    mirrored: int
    mirror_failures: int
    mirror_error: str
    saturated: Counter[str]
    """By release, the scores that are exactly 0 or 1."""
