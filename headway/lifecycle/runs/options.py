"""What the options of a step say."""

from __future__ import annotations

import re
from datetime import timedelta

from headway.errors import BadPipeline

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def age_limit_s(cache: bool | str | timedelta, step: str) -> float | None:
    """For how many seconds a result holds, None for as long as it is kept; raises `BadPipeline` for what is no age."""
    if isinstance(cache, bool):
        return None
    seconds = cache.total_seconds() if isinstance(cache, timedelta) else _seconds(cache)
    if seconds is None or seconds <= 0:
        raise BadPipeline(f'step {step!r}: cache={cache!r} is no age; write cache="1d", "12h", "30m", or True or False')
    return seconds


def _seconds(text: str) -> float | None:
    found = _AGE.fullmatch(text.strip()) if isinstance(text, str) else None
    return float(found[1]) * _UNITS_S[found[2]] if found else None
