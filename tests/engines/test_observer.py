"""Each day of events is judged once, in order, and a restart goes on where the last one stopped."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from headway.engines.observer import Observer
from headway.kernel.access import SYSTEM
from headway.kernel.records import encode
from headway.lifecycle.datasets.profile import Layout, NumericLayout, NumericProfile, Profile
from headway.lifecycle.datasets.reference import Reference
from headway.lifecycle.datasets.schema import Summary
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector
from headway.lifecycle.monitors.records import Watches, Window
from headway.lifecycle.predictions.records import AddLabels, Label
from tests.engines.world import DEPLOYMENT, WORKER, World, no_skew

LAYOUT = Layout(columns={"x": NumericLayout(cuts=(-3.0, 0.0, 3.0))})


def profile(mean: float, rows: int = 200) -> Profile:
    half = rows // 2
    column = NumericProfile(
        n=rows, nulls=0, non_finite=0, counts=(0, half, rows - half, 0), mean=mean, m2=float(rows), low=-3.0, high=3.0
    )
    return Profile(layout=LAYOUT.digest, rows=rows, columns={"x": column})


def reference(days: int = 30) -> Reference:
    """Quiet days, whose means stray a little."""
    by_day = {f"2025-12-{day + 1:02}": profile(0.02 * (day % 5 - 2)) for day in range(days)}
    return Reference(layout=LAYOUT, whole=profile(0.0), days=by_day)


class Days:
    """Profiles of the days to come, by their date; notes which were asked for, and what segments they came with."""

    def __init__(self, **means: float) -> None:
        self._means = {name.removeprefix("d").replace("_", "-"): mean for name, mean in means.items()}
        self.asked: list[tuple[str, int]] = []

    def __call__(self, segments: Sequence[bytes], day: str, layout: Layout) -> Profile:
        assert layout == LAYOUT
        self.asked.append((day, len(segments)))
        return profile(self._means.get(day, 0.0), rows=200 if segments else 0)


@pytest.fixture
def world() -> World:
    """A release serves that learnt from quiet days; its first event was on 2026-01-01."""
    made = World()
    # Every table of this world is profiled as the reference: of those, only the training data's is looked at.
    made.opened.tables.references = {encode(Summary(rows=rows, columns=())): reference() for rows in range(20)}
    made.settle(made.open())
    made.platform.monitors.declare("drift", DEPLOYMENT, Watches.DRIFT, {"arl": 200.0, "min_rows": 50}, by=SYSTEM)
    return made


def windows(world: World, monitor: str = "drift") -> list[Window]:
    return sorted(world.platform.monitors.windows(monitor).items, key=lambda window: window.day)


def serving(world: World) -> str:
    release = world.platform.deployments.get(DEPLOYMENT).serving
    assert release
    return release


def test_an_event_that_is_yet_to_come_closes_no_day(world: World) -> None:
    """Else one caller whose clock is ahead would end the watch until then: a day is judged once."""
    days = Days(d2026_01_02=9.0)
    observer = Observer(world.platform, days, no_skew)
    world.capture(serving(world), at=world.at_noon(400), ahead=True)
    observer.step()
    assert windows(world) == []
    for day in (1, 2):
        world.capture(serving(world), at=world.at_noon(day))
        observer.step()
    assert [window.day for window in windows(world)] == ["2026-01-01", "2026-01-02"]
    newest = world.platform.predictions.last_event_at(DEPLOYMENT)
    assert newest
    assert newest <= world.clock.now()


def test_a_day_is_closed_by_an_event_of_a_later_one(world: World) -> None:
    days = Days()
    observer = Observer(world.platform, days, no_skew)
    observer.step()
    assert (windows(world), days.asked) == ([], [])
    world.capture(serving(world), at=world.at_noon(1))
    observer.step()
    assert [(window.day, window.outcome) for window in windows(world)] == [("2026-01-01", Outcome.PASS)]
    observer.step()
    assert len(windows(world)) == 1
    assert [day for day, _ in days.asked] == ["2026-01-01"]


def test_days_are_judged_once_and_in_order_even_those_without_events(world: World) -> None:
    days = Days()
    world.capture(serving(world), at=world.at_noon(4))
    world.capture(serving(world), at=world.at_noon(2))
    Observer(world.platform, days, no_skew).step()
    assert [day for day, _ in days.asked] == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
    assert [window.outcome for window in windows(world)] == ["pass", "unproven", "pass", "unproven"]
    assert "0 rows" in windows(world)[1].reason


def test_drift_raises_one_alert_whatever_happens_in_between(world: World) -> None:
    days = Days(d2026_01_02=3.0, d2026_01_03=3.0, d2026_01_04=3.0, d2026_01_05=3.0)
    for day in range(1, 7):
        world.capture(serving(world), at=world.at_noon(day))
        Observer(world.platform, days, no_skew).step()  # a new one each time, as after a restart
    outcomes = [window.outcome for window in windows(world)]
    first = outcomes.index(Outcome.FAIL)
    assert outcomes[0] is Outcome.PASS
    assert first >= 2, "one odd day raises no alarm"
    (alert,) = world.platform.monitors.unresolved()
    assert (alert.day, alert.release) == (windows(world)[first].day, serving(world))
    assert windows(world)[first].numbers["flagged"][0]["column"] == "x"


def test_evidence_goes_on_after_a_restart_where_it_stopped(world: World) -> None:
    days = Days(d2026_01_01=0.5, d2026_01_02=0.5)
    world.capture(serving(world), at=world.at_noon(1))
    Observer(world.platform, days, no_skew).step()
    before = msgspec.convert(windows(world)[0].numbers["detector"], Detector)
    world.capture(serving(world), at=world.at_noon(2))
    Observer(world.platform, days, no_skew).step()
    after = msgspec.convert(windows(world)[1].numbers["detector"], Detector)
    assert after.windows == before.windows + 1 == 2
    assert after.total > before.total


def test_a_new_release_begins_with_its_first_whole_day(world: World) -> None:
    observer = Observer(world.platform, Days(), no_skew)
    world.capture(serving(world), at=world.at_noon(1))
    observer.step()
    world.settle(world.open())
    newest = serving(world)
    world.capture(newest, at=world.at_noon(5))
    observer.step()
    mine = [window.day for window in windows(world) if window.release == newest]
    assert mine == ["2026-01-03", "2026-01-04", "2026-01-05"], "on the day before them it shared the traffic"


def test_quality_waits_for_the_labels(world: World) -> None:
    release = serving(world)
    settings = {"min_labels": 10, "label_lag_days": 2}
    world.platform.monitors.declare("quality", DEPLOYMENT, Watches.QUALITY, settings, by=SYSTEM)
    observer = Observer(world.platform, Days(), no_skew)
    segment = world.capture(release, rows=20, at=world.at_noon(0))
    names = [f"{world.made}/{row}" for row in range(20)]
    for day, expected in ((1, 0), (2, 0), (3, 1)):
        world.capture(release, rows=1, at=world.at_noon(day))
        if day == 2:
            labels = tuple(Label(prediction=name, value=1.0) for name in names)
            assert world.platform.predictions.label(AddLabels(labels=labels), by=WORKER).joined == 20
        observer.step()
        assert len(windows(world, "quality")) == expected
    (window,) = windows(world, "quality")
    assert (window.day, window.rows) == ("2026-01-01", 20)
    assert window.outcome is Outcome.UNPROVEN, "no held-out days were measured by this gate"
    assert segment.rows == 20


def test_a_monitor_that_cannot_judge_does_not_silence_the_others(world: World) -> None:
    world.platform.monitors.declare("a-broken-one", DEPLOYMENT, Watches.DRIFT, {"arl": 200.0}, by=SYSTEM)
    world.capture(serving(world), at=world.at_noon(1))
    asked = 0

    def profile_day(segments: Sequence[bytes], day: str, layout: Layout) -> Profile:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("the disk is gone")
        return profile(0.0)

    Observer(world.platform, profile_day, no_skew).step()
    assert len(world.platform.monitors.windows().items) == 1


def test_nothing_is_judged_before_anything_serves() -> None:
    world = World()
    world.platform.monitors.declare("drift", DEPLOYMENT, Watches.DRIFT, {}, by=SYSTEM)
    Observer(world.platform, Days(), no_skew).step()
    assert windows(world) == []
