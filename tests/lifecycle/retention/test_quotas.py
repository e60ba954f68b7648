"""Quotas: what is over is refused with what to do, and what is purged makes room."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headway.errors import BadSettings, QuotaExceeded, TooLarge
from headway.kernel.access import SYSTEM
from headway.kernel.blobs import BlobsUsed
from headway.kernel.quotas import Quotas, checked_quotas
from headway.lifecycle.retention.policy import RetentionPolicy
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.metrics import Logged
from headway.lifecycle.runs.records import LogBatch, Metric, StartRun
from headway.server.blobs import QuotaBlobStore
from headway.testing.memory_kernel import MemoryBlobStore
from headway.testing.memory_platform import OpenedPlatform, open_platform


def _with(**limits: int) -> OpenedPlatform:
    opened = open_platform()
    opened.platform.sweeps.declare(RetentionPolicy(), Quotas(**limits), by=SYSTEM)
    return opened


def _curve(first: int, count: int) -> Curve:
    steps = list(range(first, first + count))
    return Curve(steps=steps, at_us=steps, values=[0.5] * count)


def test_runs_of_an_experiment() -> None:
    opened = _with(runs_per_experiment=2)
    runs, retention = opened.platform.runs, opened.platform.retention
    first = runs.start(StartRun(experiment="late"), by=SYSTEM)
    runs.start(StartRun(experiment="late"), by=SYSTEM)
    with pytest.raises(QuotaExceeded, match="purge some") as refused:
        runs.start(StartRun(experiment="late"), by=SYSTEM)
    assert refused.value.details == {"quota": "runs_per_experiment", "limit": 2}
    assert len(runs.list().items) == 2
    runs.start(StartRun(experiment="other"), by=SYSTEM)
    retention.delete(first.id, by=SYSTEM)
    retention.purge(first.id, "room", by=SYSTEM)
    runs.start(StartRun(experiment="late"), by=SYSTEM)


def test_points_of_a_run_by_either_way() -> None:
    opened = _with(points_per_run=10)
    platform = opened.platform
    run, other = (platform.runs.start(StartRun(experiment="late"), by=SYSTEM).id for _ in range(2))
    platform.metrics.add(Logged(run, {"loss": _curve(0, 9)}, SYSTEM))
    errors = platform.metrics.add_all(
        [Logged(run, {"loss": _curve(9, 2)}, SYSTEM), Logged(other, {"loss": _curve(0, 2)}, SYSTEM)]
    )
    assert [type(error) for error in errors] == [QuotaExceeded, type(None)]
    point = Metric(key="acc", value=1.0, at=opened.clock.now())
    platform.runs.log(run, LogBatch(metrics=(point,)), by=SYSTEM)
    with pytest.raises(TooLarge, match="points_per_run"):
        platform.runs.log(run, LogBatch(metrics=(point.but(step=1),)), by=SYSTEM)
    assert sum(summary.points for summary in platform.metrics.summaries(run).values()) == 10


def test_points_that_are_sent_twice_leave_room() -> None:
    opened = _with(points_per_run=10)
    run = opened.platform.runs.start(StartRun(experiment="late"), by=SYSTEM).id
    for _ in range(5):
        opened.platform.metrics.add(Logged(run, {"loss": _curve(0, 4)}, SYSTEM))
    assert opened.platform.metrics.summaries(run)["loss"].points == 4


def test_bytes_of_blobs() -> None:
    kept = MemoryBlobStore()
    blobs = QuotaBlobStore(kept, lambda: Quotas(blob_bytes=10))
    blobs.put(b"12345678")
    with pytest.raises(QuotaExceeded, match="headway gc"):
        blobs.put(b"123")
    assert blobs.put(b"12345678")
    blobs.put(b"12")
    assert blobs.used() == BlobsUsed(objects=2, bytes=10)
    unlimited = QuotaBlobStore(kept, Quotas)
    unlimited.put(b"more and more")


def test_quotas_that_are_declared_hold_at_once_and_are_read_from_memory() -> None:
    opened = open_platform()
    platform, asked = opened.platform, 0
    whole = opened.stores.policies.list

    def counted(**arguments: object):  # type: ignore[no-untyped-def]
        nonlocal asked
        asked += 1
        return whole(**arguments)  # type: ignore[arg-type]

    opened.stores.policies.list = counted  # type: ignore[method-assign,assignment]
    for _ in range(100):
        assert platform.quotas() == Quotas()
    assert asked <= 1
    platform.sweeps.declare(RetentionPolicy(), Quotas(points_per_run=3), by=SYSTEM)
    assert platform.quotas().points_per_run == 3
    assert platform.sweeps.usage().quotas.points_per_run == 3
    opened.clock.advance(timedelta(minutes=1).total_seconds())
    assert platform.quotas().points_per_run == 3


def test_a_quota_that_cannot_be() -> None:
    with pytest.raises(BadSettings, match="points_per_run"):
        checked_quotas(Quotas(points_per_run=-1), "[quotas]")
