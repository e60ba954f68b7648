"""Triggers look at state: what was missed is seen at the next look, once."""

from __future__ import annotations

import pytest

from headway.engines.calendar import CronCalendar
from headway.engines.scheduler import Scheduler
from headway.kernel.access import SYSTEM, Actor, Role
from headway.lifecycle.changes.records import Cause, Change, Trigger
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.records import Alert, AlertState, Watches
from headway.testing.memory_platform import open_platform
from tests.engines.world import DEPLOYMENT, World

OWNER = Actor(name="owner", role=Role.OWNER)


@pytest.fixture
def world() -> World:
    made = World(open_platform(CronCalendar()))
    made.platform.monitors.declare("drift", DEPLOYMENT, Watches.DRIFT, {}, by=SYSTEM)
    return made


def trigger(world: World, on: Cause, source: str, cooldown_s: float = 0.0) -> Trigger:
    made = Trigger(
        id=f"tr_{on}", created_at=world.clock.now(), name=f"on-{on}", on=on, pipeline="train",
        deployment=DEPLOYMENT, source=source, cooldown_s=cooldown_s,
    )  # fmt: skip
    return world.platform.triggers.declare(made, by=SYSTEM)


def step(world: World) -> list[Change]:
    """The changes there are after a look, oldest first."""
    Scheduler(world.platform, world.clock, CronCalendar()).step()
    return sorted(world.platform.changes.list().items, key=lambda change: change.number)


def end(world: World, change: Change) -> None:
    world.platform.changes.cancel(change.id, "enough", by=OWNER)


def alert(world: World, release: str, day: str = "2026-01-02") -> Alert:
    monitor = world.platform.monitors.get("drift")
    world.platform.monitors.record(
        monitor, release, day, rows=100, outcome=Outcome.FAIL, statistic=9.0, limit=1.0, reason="it moved",
        numbers={}, by=SYSTEM,
    )  # fmt: skip
    return world.platform.monitors.unresolved()[0]


def test_an_alert_opens_one_change(world: World) -> None:
    trigger(world, Cause.ALERT, "drift")
    release = world.settle(world.open()).release
    assert len(step(world)) == 1
    raised = alert(world, release)
    changes = step(world)
    assert [change.caused_by for change in changes] == ["", raised.id]
    assert (changes[1].opened_by, changes[1].why, changes[1].cause) == ("headway", "it moved", Cause.ALERT)
    assert step(world) == changes
    end(world, changes[1])
    assert len(step(world)) == 2, "the alert is still there, and has had its change"


def test_what_was_missed_while_nobody_looked_is_seen_once(world: World) -> None:
    release = world.settle(world.open()).release
    raised = alert(world, release)
    trigger(world, Cause.ALERT, "drift")
    assert [change.caused_by for change in step(world)] == ["", raised.id]


def test_no_second_change_while_one_is_open_nor_within_the_cooldown(world: World) -> None:
    trigger(world, Cause.DATASET, "departures", cooldown_s=100)
    world.clock.advance(1)
    world.dataset("departures")
    first = step(world)
    assert len(first) == 1
    world.clock.advance(200)
    newest = world.dataset("departures")
    assert step(world) == first, "one is open"
    end(world, first[0])
    assert [change.caused_by for change in step(world)][1:] == [newest]
    end(world, step(world)[1])
    world.clock.advance(50)
    later = world.dataset("departures")
    assert len(step(world)) == 2, "the last one is 50 s old"
    world.clock.advance(51)
    assert [change.caused_by for change in step(world)][2:] == [later]


def test_data_from_before_the_trigger_are_no_news(world: World) -> None:
    world.dataset("departures")
    trigger(world, Cause.DATASET, "departures")
    assert step(world) == []
    world.clock.advance(1)
    world.dataset("arrivals")
    assert step(world) == []
    world.dataset("departures")
    assert len(step(world)) == 1


def test_a_schedule_is_met_once_however_often_it_was_missed(world: World) -> None:
    trigger(world, Cause.SCHEDULE, "0 3 * * *")
    assert step(world) == []
    world.clock.advance(86_400 * 5)
    (change,) = step(world)
    assert change.caused_by == "tr_schedule/2026-01-05T03:00:00+00:00"
    end(world, change)
    assert len(step(world)) == 1
    world.clock.advance(3 * 3600)
    assert [change.why for change in step(world)] == [
        "due at 2026-01-05T03:00:00+00:00; earlier due times were missed",
        "due at 2026-01-06T03:00:00+00:00",
    ]


def test_a_trigger_for_people_opens_nothing(world: World) -> None:
    trigger(world, Cause.PERSON, "")
    world.clock.advance(86_400)
    assert step(world) == []


def test_an_alert_of_a_release_that_no_longer_serves_is_resolved_and_says_why(world: World) -> None:
    trigger(world, Cause.ALERT, "drift")
    raised = alert(world, world.settle(world.open()).release)
    step(world)
    assert world.platform.monitors.alert(raised.id).state is AlertState.OPEN
    world.settle(step(world)[1])
    step(world)
    resolved = world.platform.monitors.alert(raised.id)
    assert (resolved.state, resolved.note, resolved.moved_by) == (AlertState.RESOLVED, "change 2 settled", "headway")


def test_one_trigger_that_cannot_fire_does_not_silence_the_others(world: World) -> None:
    broken = Trigger(
        id="tr_broken", created_at=world.clock.now(), name="a-broken-one", on=Cause.DATASET, pipeline="train",
        deployment="gone", source="departures",
    )  # fmt: skip
    with world.platform.journal.act("test", "trigger.declare") as act:
        act.save(world.stores.triggers, broken)
    trigger(world, Cause.DATASET, "departures")
    world.clock.advance(1)
    world.dataset("departures")
    assert [change.trigger for change in step(world)] == ["tr_dataset"]
