"""The daily sweep: only under a policy, once a day whoever starts and ends, and again when it failed."""

from __future__ import annotations

import pytest

from headway.engines.collector import Collector
from headway.errors import Unavailable
from headway.kernel.access import SYSTEM
from headway.lifecycle.retention.policy import RetentionPolicy
from headway.lifecycle.retention.records import Sweep
from headway.lifecycle.runs.records import StartRun
from headway.testing.memory_platform import OpenedPlatform, open_platform

DAY_S = 86_400.0


class Desk:
    def __init__(self) -> None:
        self.opened: OpenedPlatform = open_platform()
        self.told: list[Sweep] = []

    def collector(self, holder: str = "here") -> Collector:
        leases, clock = self.opened.stores.leases, self.opened.clock
        return Collector(self.opened.platform, leases, clock, holder, self.told.append)

    def deleted_run(self) -> str:
        run = self.opened.platform.runs.start(StartRun(experiment="late"), by=SYSTEM).id
        self.opened.platform.runs.delete(run, by=SYSTEM)
        return run


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_nothing_happens_without_a_policy(desk: Desk) -> None:
    desk.opened.platform.blobs.put(b"loose")
    desk.deleted_run()
    desk.opened.clock.advance(100 * DAY_S)
    desk.collector().step()
    assert desk.told == []
    assert list(desk.opened.platform.blobs.all())


def test_once_a_day_whoever_starts_and_ends(desk: Desk) -> None:
    desk.opened.platform.sweeps.declare(RetentionPolicy(deleted_days=0), by=SYSTEM)
    desk.deleted_run()
    desk.collector().step()
    assert [sweep.purged for sweep in desk.told] == [{"deleted_days": 1}]
    desk.deleted_run()
    for holder in ("here", "there"):
        desk.opened.clock.advance(DAY_S / 4)
        desk.collector(holder).step()
    assert len(desk.told) == 1
    desk.opened.clock.advance(DAY_S / 2)
    desk.collector("there").step()
    assert [sweep.purged for sweep in desk.told[1:]] == [{"deleted_days": 1}]


def test_blobs_go_after_two_days_by_default_and_as_declared(desk: Desk) -> None:
    platform, clock = desk.opened.platform, desk.opened.clock
    platform.sweeps.declare(RetentionPolicy(traces_days=90), by=SYSTEM)
    platform.blobs.put(b"loose")
    for left in (1, 1, 0):
        desk.collector().step()
        assert len([*platform.blobs.all(), *platform.blobs.discarded()]) == left
        clock.advance(DAY_S)
    platform.sweeps.declare(RetentionPolicy(unreachable_days=0), by=SYSTEM)
    platform.blobs.put(b"loose")
    desk.collector().step()
    assert not list(platform.blobs.discarded())
    assert desk.told[-1].freed_bytes == 5


def test_what_failed_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = desk.opened.platform
    platform.sweeps.declare(RetentionPolicy(deleted_days=0), by=SYSTEM)
    desk.deleted_run()

    def unreachable() -> None:
        raise Unavailable("the blobs cannot be reached")

    with monkeypatch.context() as broken:
        broken.setattr(platform.blobs, "all", unreachable)
        with pytest.raises(Unavailable):
            desk.collector().step()
    desk.collector().step()
    assert len(desk.told) == 1
    assert not list(platform.runs.list().items)
