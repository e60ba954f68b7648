"""Traces: what a call to an application went through, as its client tells it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from headway.kernel.records import Record, Value
from headway.lifecycle.runs.search import Condition

NAME_TAG = "mlflow.traceName"
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z")


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


class TraceWalk(Value):
    """Command: up to `limit` traces of these experiments (ids) that are not deleted, by their begin, those that began
    last first unless `descending` is false; among those of one millisecond the newest first either way. `behind` is
    begin and id of the trace after which to go on. What surely does not fit `where` may be left out."""

    experiments: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    descending: bool = True
    behind: tuple[int, str] | None = None
    limit: int = 500


def began_ms(trace: Trace) -> int:
    """Milliseconds since 1970: as its client tells it, else when it came."""
    match = _TIME.fullmatch(str(trace.told.get("request_time", "")))
    if match is None:
        return int(trace.created_at.timestamp() * 1000)
    try:
        whole = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(whole.timestamp()) * 1000 + int(((match[2] or ".") + "000")[1:4])


def metadata_of(trace: Trace) -> dict[str, str]:
    found = trace.told.get("trace_metadata")
    return found if isinstance(found, dict) else {}


def state_of(trace: Trace) -> str | None:
    state = trace.told.get("state")
    return state if isinstance(state, str) else None


def name_of(trace: Trace) -> str | None:
    return trace.tags.get(NAME_TAG)
