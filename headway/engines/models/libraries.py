"""Which library a fitted model is of, told without importing any."""

from __future__ import annotations

from typing import Any

BOOSTERS = ("lightgbm", "xgboost", "catboost")


def library_of(part: Any) -> str:
    """The booster library that `part` is an estimator of, or nothing."""
    for made in type(part).__mro__:
        library = made.__module__.partition(".")[0]
        if library in BOOSTERS:
            return library
    return ""
