"""What becomes of due times and dataset versions that nobody looked at in time, and of what waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headway.engines.calendar import CronCalendar
from headway.engines.scheduler import Scheduler
from headway.errors import IllegalMove, Invalid
from headway.kernel.access import SYSTEM
from headway.lifecycle.changes.asked import Backfill, FireTrigger
from headway.lifecycle.changes.records import CatchUp, Cause, Concurrency, Firing, FiringState, Trigger
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.records import Watches
from headway.testing.memory_platform import open_platform
from tests.engines.world import AUTHOR, DEPLOYMENT, World

DAY = 86_400


@pytest.fixture
def world() -> World:
    return World(open_platform(CronCalendar()))


def declare(world: World, on: Cause = Cause.SCHEDULE, source: str = "0 3 * * *", **rules: Any) -> Trigger:
    made = Trigger(
        id=f"tr_{on}", created_at=world.clock.now(), name="nightly", on=on, pipeline="train", deployment=DEPLOYMENT,
        source=source, **rules,
    )  # fmt: skip
    return world.platform.triggers.declare(made, by=SYSTEM)


def look(world: World) -> list[Firing]:
    """What the trigger has taken notice of after a look, oldest first."""
    Scheduler(world.platform, world.clock, CronCalendar()).step()
    return list(reversed(world.platform.triggers.history("nightly", limit=1000).items))


def end(world: World) -> None:
    for change in world.platform.changes.open_ones():
        world.platform.changes.cancel(change.id, "enough", by=SYSTEM)


def told(firings: list[Firing]) -> list[str]:
    return [f"{firing.slot_at:%d} {firing.state}" for firing in firings]


def test_none_fires_in_time_and_skips_what_was_missed(world: World) -> None:
    declare(world, catch_up=CatchUp.NONE)
    world.clock.advance(3 * 3600 + 30)
    assert told(look(world)) == ["01 opened"]
    end(world)
    world.clock.advance(3 * DAY + 3600)
    firings = look(world)
    assert told(firings) == ["01 opened", "04 skipped"]
    assert firings[1].why == "due at 2026-01-04T03:00:00+00:00; earlier due times were missed"
    assert firings[1].reason == "it came while no server looked, and is not caught up with"
    assert look(world) == firings
    world.clock.advance(DAY - 3600)
    assert told(look(world)) == ["01 opened", "04 skipped", "05 opened"]


def test_latest_fires_the_newest_of_what_was_missed_once(world: World) -> None:
    declare(world)
    world.clock.advance(5 * DAY)
    assert told(look(world)) == ["05 opened"]
    world.clock.advance(2 * DAY)
    assert told(look(world)) == ["05 opened", "07 waiting"]
    world.clock.advance(DAY)
    assert told(look(world)) == ["05 opened", "07 skipped", "08 waiting"]
    end(world)
    assert told(look(world)) == ["05 opened", "07 skipped", "08 opened"]


def test_all_fires_each_in_turn_up_to_its_bound(world: World) -> None:
    declare(world, catch_up=CatchUp.ALL, most_caught_up=3)
    world.clock.advance(6 * DAY)
    for opened in range(1, 4):
        states = ["opened"] * opened + ["waiting"] * (3 - opened)
        firings = look(world)
        assert told(firings) == [f"{day:02} {state}" for day, state in zip((4, 5, 6), states, strict=True)]
        assert look(world) == firings
        end(world)
    assert "earlier due times were missed" in firings[0].why
    assert len(world.platform.changes.list().items) == 3


def test_a_time_zone_moves_what_is_due(world: World) -> None:
    declare(world, time_zone="America/New_York", params={"day": "${slot_date}", "at": "${slot}"}, source="0 22 * * *")
    world.clock.advance(3 * 3600 + 30)
    (firing,) = look(world)
    assert firing.slot_at == datetime(2026, 1, 1, 3, tzinfo=UTC)
    change = world.platform.changes.get(firing.change)
    assert change.params == {"day": "2025-12-31", "at": "2026-01-01T03:00:00+00:00"}


def test_what_comes_due_in_a_pause_is_no_news(world: World) -> None:
    declare(world)
    world.platform.triggers.pause("nightly", "holidays", by=SYSTEM)
    world.clock.advance(3 * DAY)
    assert look(world) == []
    with pytest.raises(IllegalMove, match="resume"):
        world.platform.asked.fire("nightly", FireTrigger(), by=AUTHOR)
    standing = world.platform.triggers.standing("nightly")
    assert (standing.next_due, standing.trigger.paused_why) == ((), "holidays")
    world.platform.triggers.resume("nightly", by=SYSTEM)
    assert look(world) == []
    world.clock.advance(DAY)
    assert told(look(world)) == ["04 opened"]


def test_it_stays_paused_when_it_is_declared_again_and_starts_anew_when_it_listens_to_something_else(
    world: World,
) -> None:
    first = declare(world)
    world.platform.triggers.pause("nightly", "holidays", by=SYSTEM)
    world.clock.advance(DAY)
    again = declare(world, cooldown_s=5)
    assert (again.id, again.created_at, again.paused_why, again.cooldown_s) == (
        first.id,
        first.created_at,
        "holidays",
        5,
    )
    world.platform.triggers.resume("nightly", by=SYSTEM)
    world.clock.advance(DAY)
    declare(world, source="30 3 * * *")
    assert look(world) == []
    world.clock.advance(DAY)
    assert told(look(world)) == ["03 opened"]


@pytest.mark.parametrize(
    ("catch_up", "states"),
    [(CatchUp.ALL, ["opened", "waiting", "waiting"]), (CatchUp.LATEST, ["opened"]), (CatchUp.NONE, ["skipped"])],
)
def test_dataset_versions_that_came_at_once(world: World, catch_up: CatchUp, states: list[str]) -> None:
    declare(world, Cause.DATASET, "departures", catch_up=catch_up, params={"rows": "${version}"})
    for _ in range(3):
        world.clock.advance(1)
        world.dataset("departures")
    world.clock.advance(120)
    firings = look(world)
    assert [firing.state for firing in firings] == states
    assert firings[-1].params == {"rows": "departures@3"}
    assert look(world) == firings


def test_with_a_tag_each_version_that_it_leads_to_fires_once(world: World) -> None:
    datasets: Any = world.platform.datasets
    declare(world, Cause.DATASET, "departures", tag="blessed", concurrency=Concurrency.QUEUE)
    world.clock.advance(1)
    first, second = world.dataset("departures"), world.dataset("departures")
    assert look(world) == []
    if not hasattr(datasets, "tag"):
        pytest.skip("dataset versions have no tags in this tree")
    datasets.tag("departures@1", "blessed", by=AUTHOR)
    assert [(each.key, each.why) for each in look(world)] == [(first, "departures@1 is tagged blessed")]
    end(world)
    datasets.tag("departures@2", "blessed", by=AUTHOR)
    assert [each.key for each in look(world)] == [first, second]
    end(world)
    datasets.tag("departures@1", "blessed", by=AUTHOR)
    assert [each.key for each in look(world)] == [first, second]


def test_an_alert_that_is_resolved_while_it_waits_opens_nothing(world: World) -> None:
    monitors = world.platform.monitors
    monitors.declare("drift", DEPLOYMENT, Watches.DRIFT, {}, by=SYSTEM)
    release = world.settle(world.open()).release
    declare(world, Cause.ALERT, "drift", cooldown_s=1000)
    world.platform.asked.fire("nightly", FireTrigger(), by=AUTHOR)
    monitors.record(
        monitors.get("drift"), release, "2026-01-02", rows=9, outcome=Outcome.FAIL, statistic=9.0, limit=1.0,
        reason="it moved", numbers={}, by=SYSTEM,
    )  # fmt: skip
    assert [each.state for each in look(world)] == ["opened", "waiting"]
    monitors.resolve(monitors.unresolved()[0].id, "a false alarm", by=SYSTEM)
    last = look(world)[-1]
    assert (last.state, last.reason) == (FiringState.SKIPPED, "the alert was resolved: a false alarm")


def test_a_newer_cause_takes_the_place_of_what_is_open(world: World) -> None:
    declare(world, concurrency=Concurrency.REPLACE)
    world.clock.advance(DAY)
    look(world)
    world.clock.advance(DAY)
    assert told(look(world)) == ["01 opened", "02 opened"]
    newer, older = world.platform.changes.list().items
    assert (older.stage, older.reason) == ("rejected", "cancelled by headway: a newer cause takes its place")
    assert not newer.over


def test_a_backfill_has_each_slot_once_and_goes_on_where_it_was(world: World) -> None:
    declare(world, catch_up=CatchUp.NONE, params={"day": "${slot_date}"}, concurrency=Concurrency.SKIP)
    world.clock.advance(10 * DAY)
    assert told(look(world)) == ["10 skipped"]
    since, until = datetime(2025, 12, 30, tzinfo=UTC), datetime(2026, 1, 10, 3, tzinfo=UTC)
    command = Backfill(since=since, until=until, dry_run=True)
    dry = world.platform.asked.backfill("nightly", command, by=AUTHOR)
    assert [slot.slot_at.day for slot in dry.slots] == [30, 31, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert told(look(world)) == ["10 skipped"]
    command = command.but(dry_run=False, since=datetime(2026, 1, 8, tzinfo=UTC))
    first = world.platform.asked.backfill("nightly", command, by=AUTHOR)
    assert [(slot.state, slot.noted) for slot in first.slots] == [
        ("waiting", True), ("waiting", True), ("opened", True)
    ]  # fmt: skip
    again = world.platform.asked.backfill("nightly", command.but(since=datetime(2026, 1, 7, tzinfo=UTC)), by=AUTHOR)
    assert [slot.noted for slot in again.slots] == [True, False, False, False]
    days = set()
    for _ in range(5):
        look(world)
        days |= {change.params["day"] for change in world.platform.changes.open_ones()}
        assert len(world.platform.changes.open_ones()) <= 1
        end(world)
    assert days == {f"2026-01-{day:02}" for day in (7, 8, 9, 10)}
    assert {change.opened_by for change in world.platform.changes.list().items} == {"author"}
    world.clock.advance(DAY)
    assert told(look(world))[-1] == "11 skipped", "its schedule goes on as if there had been none"


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"until": datetime(2027, 1, 1, tzinfo=UTC)}, "past"),
        ({"since": datetime(2026, 1, 9, tzinfo=UTC), "until": datetime(2026, 1, 8, tzinfo=UTC)}, "past"),
        ({"most": 3}, "more than 3"),
        ({"most": 1001}, "1 to 1000"),
    ],
)
def test_what_is_no_backfill(world: World, fields: dict[str, Any], match: str) -> None:
    declare(world)
    world.clock.advance(10 * DAY)
    command = Backfill(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 1, 8, tzinfo=UTC))
    with pytest.raises(Invalid, match=match):
        world.platform.asked.backfill("nightly", command.but(**fields), by=AUTHOR)
    declare(world, Cause.PERSON, "")
    with pytest.raises(Invalid, match="only a schedule"):
        world.platform.asked.backfill("nightly", command, by=AUTHOR)


def test_a_param_that_stands_for_a_fact_is_given_by_who_fires_by_hand(world: World) -> None:
    declare(world, params={"day": "${slot_date}"})
    with pytest.raises(Invalid, match="day="):
        world.platform.asked.fire("nightly", FireTrigger(), by=AUTHOR)
    fired = world.platform.asked.fire("nightly", FireTrigger(params={"day": "2026-01-01"}, key="mine"), by=AUTHOR)
    assert (fired.state, fired.params) == (FiringState.OPENED, {"day": "2026-01-01"})
    assert world.platform.asked.fire("nightly", FireTrigger(key="mine"), by=AUTHOR) == fired
