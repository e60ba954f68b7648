"""What the control plane tells Prometheus of itself: text format 0.0.4.

Counters start at 0 with the process; gauges are read from the platform when they are asked for.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from headway.kernel.journal import Act, Journal
from headway.kernel.version import VERSION
from headway.lifecycle.changes.records import OVER, Stage
from headway.lifecycle.monitors.records import AlertState
from headway.lifecycle.platform import Platform
from headway.lifecycle.retention.records import Sweep
from headway.lifecycle.runs.records import RunState
from headway.lifecycle.runs.search import CountRuns

UNRESOLVED = (AlertState.OPEN, AlertState.ACKNOWLEDGED)
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LABELS = tuple(("le", str(bound)) for bound in (*BOUNDS_S, "+Inf"))
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
Labels = tuple[tuple[str, str], ...]


class Counters:
    """Counts of what happened in this process; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[str, Counter[Labels]] = defaultdict(Counter)

    def add(self, name: str, amount: float = 1, /, **labels: str) -> None:
        with self._lock:
            self._counts[name][tuple(labels.items())] += amount  # type: ignore[assignment]

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        labels = (("method", method), ("route", route))
        with self._lock:
            counts = self._counts
            counts["headway_requests_total"][(*labels, ("status", str(status)))] += 1
            counts["headway_request_seconds_sum"][labels] += seconds  # type: ignore[assignment]
            counts["headway_request_seconds_count"][labels] += 1
            for bound in _LABELS[bisect_left(BOUNDS_S, seconds) :]:
                counts["headway_request_seconds_bucket"][(*labels, bound)] += 1

    def snapshot(self) -> dict[str, Counter[Labels]]:
        with self._lock:
            return {name: counts.copy() for name, counts in self._counts.items()}


def count_sweep(counters: Counters, sweep: Sweep) -> None:
    """What a collection did; one that only told what it would do is not counted."""
    if sweep.dry_run:
        return
    for rule, count in sweep.purged.items():
        counters.add("headway_purged_records_total", count, rule=rule)
    for fate, tally in sweep.blobs.items():
        counters.add("headway_collected_blobs_total", tally.objects, fate=fate)
    counters.add("headway_freed_bytes_total", sweep.freed_bytes)


class CountedJournal:
    """A journal whose acts are counted by verb."""

    def __init__(self, journal: Journal, counters: Counters) -> None:
        self._journal, self._counters = journal, counters

    def act(self, actor: str, verb: str, *, why: str = "") -> AbstractContextManager[Act]:
        return _Counting(self._journal.act(actor, verb, why=why), self._counters, verb)


class _Counting:
    """An act that is counted once it is kept."""

    def __init__(self, acting: AbstractContextManager[Act], counters: Counters, verb: str) -> None:
        self._acting, self._counters, self._verb = acting, counters, verb

    def __enter__(self) -> Act:
        return self._acting.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._acting.__exit__(kind, error, trace)
        if error is None:
            self._counters.add("headway_journal_acts_total", verb=self._verb)


class Metered:
    """Counts each request of `app` by method, route and status."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app, self._counters = app, counters

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            method = scope.get("method") if scope.get("method") in _METHODS else "other"
            route = scope.get("path_template") or "none"
            self._counters.request(method, route, status, time.perf_counter() - began)


def exposition(platform: Platform, counters: Counters) -> str:
    """All of it as text."""
    lines = [line for gauge in _gauges(platform) for line in _family(*gauge)]
    counted = counters.snapshot()
    for name in sorted(counted):
        if name.startswith("headway_request_seconds"):
            continue
        lines += _family(name, "counter", counted[name])
    lines.append("# TYPE headway_request_seconds histogram")
    for part in ("bucket", "sum", "count"):
        name = f"headway_request_seconds_{part}"
        lines += _samples(name, counted.get(name, {}))
    return "\n".join(lines) + "\n"


def _gauges(platform: Platform) -> Iterator[tuple[str, str, Mapping[Labels, float]]]:
    changes = Counter(change.stage for change in platform.changes.open_ones())
    alerts = Counter(alert.state for alert in platform.monitors.unresolved())
    newest = platform.ledger.latest(limit=1)
    yield "headway_version_info", "gauge", {(("version", VERSION),): 1}
    yield "headway_open_changes", "gauge", {(("stage", stage),): changes[stage] for stage in Stage if stage not in OVER}
    yield "headway_unresolved_alerts", "gauge", {(("state", state),): alerts[state] for state in UNRESOLVED}
    yield (
        "headway_going_runs",
        "gauge",
        {(("state", state),): _count_runs(platform, state) for state in (RunState.PENDING, RunState.RUNNING)},
    )
    yield "headway_ledger_entries", "gauge", {(): newest[0].number if newest else 0}
    used = platform.blobs.used()
    yield "headway_blobs", "gauge", {(): used.objects}
    yield "headway_blob_bytes", "gauge", {(): used.bytes}
    yield "process_resident_memory_bytes", "gauge", {(): _resident_bytes()}


def _count_runs(platform: Platform, state: RunState) -> int:
    return platform.runs.count(CountRuns(where=f"attributes.status = '{state}'", deleted=None)).runs


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0


def _family(name: str, kind: str, samples: Mapping[Labels, float]) -> Iterable[str]:
    return [f"# TYPE {name} {kind}", *_samples(name, samples)]


def _samples(name: str, samples: Mapping[Labels, float]) -> list[str]:
    return [f"{name}{_rendered(labels)} {value!r}" for labels, value in sorted(samples.items())]


def _rendered(labels: Labels) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels) + "}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
