"""The run that logging goes to when none is named."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway.client.run import Run

ACTIVE: ContextVar[Run | None] = ContextVar("active_run", default=None)
UNOPENED: ContextVar[Callable[[], Run] | None] = ContextVar("unopened_run", default=None)
"""Begins the run of a pipeline that has not needed one so far, because all of its steps were found."""


def active_run() -> Run | None:
    """The run of the innermost `with` block that this code runs in, if any. Threads that it starts are outside."""
    active, begin = ACTIVE.get(), UNOPENED.get()
    return begin() if active is None and begin is not None else active
