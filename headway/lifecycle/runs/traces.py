"""Traces: what a call to an application went through, as its client tells it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headway.kernel.records import Record


class Trace(Record, prefix="tx"):
    """`request` is the id its client gave it; `told` is the client's own description of it, as JSON."""

    request: str
    experiment: str
    """Id of the experiment."""
    told: dict[str, Any] = {}
    tags: dict[str, str] = {}
    assessments: dict[str, dict[str, Any]] = {}
    """What people and programs think of it, by id, as the client writes it."""
    deleted_at: datetime | None = None
