"""What a worker of a model server has counted, in a form that can be kept, sent and added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from headway.kernel.records import Value
from headway.serving.counters import CaptureStatus, ReleaseCounts, ServerCounters, WorkerStatus

_SUMMED = ("queued", "captured", "dropped", "non_finite", "mirrored", "mirror_failures", "segments")


class Snapshot(Value):
    worker: WorkerStatus
    releases: dict[str, ReleaseCounts]
    capture: CaptureStatus


class Totals(NamedTuple):
    """All workers together, the dead ones that are not yet replaced included; `workers` are those that live."""

    counters: ServerCounters
    capture: CaptureStatus
    workers: tuple[WorkerStatus, ...]


def total(own: Snapshot, others: Sequence[Snapshot] = (), dead: Sequence[Snapshot] = ()) -> Totals:
    """`own` is the snapshot of the worker that was asked: the spool, which all share, is as it found it."""
    counters, everyone = ServerCounters(), (own, *others, *dead)
    for snapshot in everyone:
        counters.resume(snapshot.releases)
    summed = {name: sum(getattr(each.capture, name) for each in everyone) for name in _SUMMED}
    # What waited in the memory of a dead worker waits no more.
    summed["queued"] -= sum(each.capture.queued for each in dead)
    error = next((each.capture.error for each in (own, *others) if each.capture.error), "")
    saturated: Counter[str] = Counter()
    for snapshot in everyone:
        saturated.update(snapshot.capture.saturated)
    capture = own.capture.but(error=error, saturated=dict(saturated), **summed)
    return Totals(counters, capture, tuple(each.worker for each in (own, *others)))
