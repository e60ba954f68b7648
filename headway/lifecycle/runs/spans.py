"""What the spans of a trace say of it as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from headway.kernel.records import encode
from headway.lifecycle.runs.traces import NAME_TAG, Span

LOCATION_TAG = "mlflow.trace.spansLocation"
STORED = "TRACKING_STORE"
"""The value of `LOCATION_TAG` for a trace whose spans this platform keeps by themselves."""
USAGE = "mlflow.trace.tokenUsage"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def summary(request: str, told: Mapping[str, Any], spans: Sequence[Span]) -> dict[str, Any]:
    """`told`, with what `spans` add: begin, duration, state, previews, and metadata that is not there yet."""
    found = {**told, "trace_id": request}
    if not spans:
        return found
    started = min(span.started_ns for span in spans)
    ended = max(span.ended_ns for span in spans)
    found["request_time"] = written_ns(started)
    if ended:
        found["execution_duration"] = f"{max(0, ended - started) / 1e9:.9f}s"
    root = root_of(spans)
    found["state"] = ("ERROR" if root.state == "ERROR" else "OK") if root and root.ended_ns else "IN_PROGRESS"
    if root and root.asked:
        found["request_preview"] = root.asked
    if root and root.answered:
        found["response_preview"] = root.answered
    said = {key: value for span in reversed(spans) for key, value in span.metadata.items()}
    if used := usage(spans):
        said[USAGE] = encode(used).decode()
    found["trace_metadata"] = {**said, **(told.get("trace_metadata") or {}), **({USAGE: said[USAGE]} if used else {})}
    return found


def tags_of(spans: Sequence[Span]) -> dict[str, str]:
    """The tags that a root gives its trace, its name among them."""
    root = root_of(spans)
    if root is None:
        return {}
    return {**({NAME_TAG: root.name[:8000]} if root.name else {}), **root.tags}


def root_of(spans: Sequence[Span]) -> Span | None:
    return next((span for span in spans if not span.parent), None)


def usage(spans: Sequence[Span]) -> dict[str, int]:
    """Tokens of the outermost spans that tell of any: those within them are counted there."""
    parents = {span.id: span.parent for span in spans}
    telling = {span.id for span in spans if span.usage}
    total: Counter[str] = Counter()
    for span in spans:
        if span.usage and not _within(span.parent, parents, telling):
            total.update(span.usage)
    return dict(total)


def _within(identifier: str, parents: Mapping[str, str], telling: set[str]) -> bool:
    seen: set[str] = set()
    while identifier and identifier not in seen:
        if identifier in telling:
            return True
        seen.add(identifier)
        identifier = parents.get(identifier, "")
    return False


def written_ns(ns: int) -> str:
    """Nanoseconds since 1970 as protocol buffers write a time in JSON."""
    seconds, rest = divmod(ns, 1_000_000_000)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        moment, rest = _EPOCH, 0
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z" if rest else f"{moment:%Y-%m-%dT%H:%M:%S}Z"
