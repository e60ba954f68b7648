"""The run that logging goes to when none is named."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway.client.run import Run

ACTIVE: ContextVar[Run | None] = ContextVar("active_run", default=None)


def active_run() -> Run | None:
    """The run of the innermost `with` block that this code runs in, if any. Threads that it starts are outside."""
    return ACTIVE.get()
