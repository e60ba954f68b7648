"""Traces: what a call to an application went through, as its client tells it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headway.kernel.records import Record, Value


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
    runs: tuple[str, ...] = ()
    """Ids of runs that somebody linked it to."""
    settled: bool = False
    """Its client has described the whole of it: spans that come later add nothing to `told`."""


class Span(Value):
    """One step of a trace, whose `request` it bears. `id` and `parent` are 16 hexadecimal digits, `told` is the span as
    the client sends it."""

    request: str
    id: str
    parent: str = ""
    name: str = ""
    kind: str = ""
    state: str = "UNSET"
    """OK, ERROR or UNSET."""
    started_ns: int = 0
    ended_ns: int = 0
    """0 while it goes on."""
    asked: str = ""
    """The beginning of what went in."""
    answered: str = ""
    """The beginning of what came out."""
    usage: dict[str, int] = {}
    """Tokens by what they were used for; of a step, what the steps within it used is part of that."""
    metadata: dict[str, str] = {}
    """What it says of its whole trace: the session, the user."""
    tags: dict[str, str] = {}
    told: dict[str, Any] = {}
