"""Libraries that values are stored by, loaded with the first value that needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from headway.errors import ExtraMissing


def needed(module: str, why: str, extra: str) -> Any:
    """The module; raises `ExtraMissing`, which says `why` and which extra brings it, where it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise ExtraMissing(f"{why}: pip install 'headway[{extra}]'") from None
