"""What a retention policy says has had its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from headway.kernel.records import Record
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.models.records import Model, ModelVersion, Registration
from headway.lifecycle.predictions.records import Segment
from headway.lifecycle.retention.policy import RetentionPolicy, before
from headway.lifecycle.retention.store import KeptRecords
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.records import Artifact, Experiment, Run, StepResult
from headway.lifecycle.runs.traces import Trace

_DELETABLE: tuple[type[Record], ...] = (
    Trace, Artifact, Registration, ModelVersion, LoggedModel, Run, DatasetVersion, Model, Experiment,
)  # fmt: skip
"""In an order in which what came from something stands before it."""
_DELETED = (b'"deleted_at":"', b'"removed_at":"')


class Due(NamedTuple):
    """`rule` is the setting that says so."""

    rule: str
    record: Record


def due(policy: RetentionPolicy, now: datetime, kept: KeptRecords, sizes: Mapping[str, int]) -> Iterator[Due]:
    """All that has had its time; `sizes` gives the bytes of a blob by its digest, for the cache of steps."""
    if (limit := before(now, policy.deleted_days)) is not None:
        yield from (Due("deleted_days", record) for record in _deleted(kept, limit))
    if (limit := before(now, policy.traces_days)) is not None:
        traces = (msgspec.json.decode(body, type=Trace) for body in kept.of_kind(Trace.prefix))
        yield from (Due("traces_days", trace) for trace in traces if trace.created_at <= limit)
    if (limit := before(now, policy.segments_days)) is not None:
        segments = (msgspec.json.decode(body, type=Segment) for body in kept.of_kind(Segment.prefix))
        yield from (Due("segments_days", segment) for segment in segments if segment.last_event_at <= limit)
    if policy.step_results_days is not None or policy.step_results_bytes is not None:
        results = [msgspec.json.decode(body, type=StepResult) for body in kept.of_kind(StepResult.prefix)]
        yield from _step_results(results, policy, now, sizes)


def _deleted(kept: KeptRecords, limit: datetime) -> Iterator[Record]:
    """Newest first, since what is inside a run, or came from a version, is newer than it."""
    for kind in _DELETABLE:
        found = [body for body in kept.of_kind(kind.prefix) if any(mark in body for mark in _DELETED)]
        for body in reversed(found):
            record = msgspec.json.decode(body, type=kind)
            at = getattr(record, "removed_at" if isinstance(record, Artifact) else "deleted_at")
            if at is not None and at <= limit:
                yield record


def _step_results(
    results: Iterable[StepResult], policy: RetentionPolicy, now: datetime, sizes: Mapping[str, int]
) -> Iterator[Due]:
    """Those that are too old; then the oldest, until what the others hold fits. A blob is counted once."""
    limit, room, held = before(now, policy.step_results_days), policy.step_results_bytes, set[str]()
    total = 0
    for result in sorted(results, key=lambda result: (result.created_at, result.id), reverse=True):
        if limit is not None and result.created_at <= limit:
            yield Due("step_results_days", result)
            continue
        fresh = {output.blob for output in result.outputs} - held
        total += sum(sizes.get(blob, 0) for blob in fresh)
        held |= fresh
        if room is not None and total > room:
            yield Due("step_results_bytes", result)
