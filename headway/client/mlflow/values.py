"""Numbers as MLflow writes them."""

from __future__ import annotations

from typing import Any

_LARGEST = 1.7976931348623157e308
"""What MLflow's databases keep for infinity."""


def measured(value: Any) -> float:
    """A metric's value as it was logged: `NaN` and `Infinity` are texts, and MLflow's databases keep the largest number
    for infinity."""
    number = float(value)
    if abs(number) == _LARGEST:
        return float("inf") if number > 0 else float("-inf")
    return number
