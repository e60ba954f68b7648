"""What becomes of causes: by table, and as a machine that crashes wherever it likes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headway.errors import Invalid
from headway.kernel.access import SYSTEM
from headway.lifecycle.changes.asked import FireTrigger
from headway.lifecycle.changes.firings import End, Hold, Open, Skip, filled, next_step
from headway.lifecycle.changes.records import (
    CatchUp,
    Cause,
    Change,
    Concurrency,
    Firing,
    FiringState,
    Noticed,
    Stage,
    Trigger,
)
from tests.engines.world import AUTHOR, DEPLOYMENT, World

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def trigger(**fields: Any) -> Trigger:
    given = {"name": "t", "on": Cause.SCHEDULE, "pipeline": "p", "deployment": "d", "catch_up": CatchUp.ALL}
    return Trigger(id="tr_1", created_at=NOW, **(given | fields))


def firing(number: int, cause: Cause = Cause.SCHEDULE, by: str = "") -> Firing:
    return Firing(id=f"fi_{number}", created_at=NOW, trigger="tr_1", key=str(number), cause=cause, by=by)


def change(number: int, stage: Stage = Stage.RUNNING) -> Change:
    return Change(
        id=f"ch_{number}", created_at=NOW, number=number, title="t", cause=Cause.SCHEDULE, opened_by="x",
        deployment="d", environment="e", trigger="tr_1", stage=stage,
    )  # fmt: skip


ONE, TWO, ASKED = firing(1), firing(2), firing(3, Cause.PERSON, "ada")
BACK = firing(4, Cause.BACKFILL, "ada")
LATEST, SKIPS, REPLACES = (
    {"catch_up": CatchUp.LATEST},
    {"concurrency": Concurrency.SKIP},
    {"concurrency": Concurrency.REPLACE},
)
COOLS: dict[str, Any] = {"cooldown_s": 60.0}
OLD = NOW - timedelta(seconds=60)
TABLE = [
    ({}, [], [], None, Hold(why="nothing waits")),
    ({}, [ONE, TWO], [], None, Open(firing="fi_1")),
    ({}, [ONE], [change(7)], None, Hold(why="change 7 is still open")),
    ({"most_open": 2}, [ONE], [change(7)], None, Open(firing="fi_1")),
    ({"paused_at": NOW, "paused_by": "bo"}, [ONE], [], None, Hold(why="paused by bo")),
    (LATEST, [ONE, TWO], [], None, Skip(firing="fi_1", reason="a newer one came while it waited")),
    (LATEST, [ONE, firing(2, Cause.ALERT)], [], None, Open(firing="fi_1")),
    (LATEST, [firing(1, Cause.ALERT), firing(2, Cause.ALERT)], [], None, Open(firing="fi_1")),
    (LATEST, [ONE, BACK], [], None, Open(firing="fi_1")),
    (COOLS, [ONE], [], OLD, Open(firing="fi_1")),
    (COOLS, [ONE], [], NOW, Hold(why="cooling down until 2026-01-01T00:01:00+00:00")),
    (COOLS, [ONE, ASKED], [], NOW, Open(firing="fi_3")),
    (COOLS | SKIPS, [ONE], [], NOW, Skip(firing="fi_1", reason="its last change was less than 60 s old")),
    (SKIPS, [ONE], [], None, Open(firing="fi_1")),
    (SKIPS, [ONE], [change(7)], None, Skip(firing="fi_1", reason="change 7 was still open")),
    (SKIPS, [ASKED], [change(7)], None, Hold(why="change 7 is still open")),
    (REPLACES, [ONE, TWO], [], None, Skip(firing="fi_1", reason="a newer cause took its place")),
    (REPLACES, [ONE], [change(7), change(8)], None, End(change="ch_7")),
    (REPLACES, [ONE], [change(7, Stage.ROLLING_OUT), change(8)], None, End(change="ch_8")),
    (REPLACES, [ONE], [change(7, Stage.ROLLING_OUT)], None, Hold(why="change 7 moves traffic already")),
    (REPLACES, [BACK], [change(7)], None, Hold(why="change 7 is still open")),
    (REPLACES | COOLS, [ONE], [change(7)], NOW, Hold(why="cooling down until 2026-01-01T00:01:00+00:00")),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "waiting", "open_changes", "last", "step"), TABLE)
def test_what_a_cause_may_do_now(
    rules: dict[str, Any], waiting: list[Firing], open_changes: list[Change], last: datetime | None, step: object
) -> None:
    assert next_step(trigger(**rules), waiting, open_changes, last, NOW) == step


def test_params_stand_for_facts() -> None:
    params = {"day": "${slot_date}", "file": "in/${file}.csv", "plain": "$file {file}"}
    assert filled(params, {"slot_date": "2026-01-01", "file": "a"}) == {
        "day": "2026-01-01", "file": "in/a.csv", "plain": "$file {file}"
    }  # fmt: skip
    with pytest.raises(Invalid, match="does not have; give it: day="):
        filled(params, {"file": "a"})


class Causes(RuleBasedStateMachine):
    """Causes come, changes end, time passes, and between any two of them the process may have died: whatever was not
    written down is looked at again, as a scheduler does that starts anew."""

    @initialize(
        concurrency=st.sampled_from(Concurrency), most_open=st.integers(1, 3), cooldown_s=st.sampled_from([0.0, 50.0])
    )
    def begin(self, concurrency: Concurrency, most_open: int, cooldown_s: float) -> None:
        self.world = World()
        self.triggers = self.world.platform.triggers
        self.trigger = self.triggers.declare(
            Trigger(
                id="tr_1", created_at=self.world.clock.now(), name="t", on=Cause.ALERT, pipeline="train",
                deployment=DEPLOYMENT, concurrency=concurrency, most_open=most_open, cooldown_s=cooldown_s,
            ),
            by=SYSTEM,
        )  # fmt: skip
        self.keys: list[str] = []

    @rule(count=st.integers(1, 3))
    def come(self, count: int) -> None:
        self.keys += [f"al_{len(self.keys) + number:03d}" for number in range(count)]

    @rule()
    def look(self) -> None:
        self.triggers.notice(self.trigger, [Noticed(key=key, cause=Cause.ALERT, why="w") for key in self.keys])

    @rule()
    def open(self) -> None:
        self.triggers.advance(self.trigger)

    @rule(number=st.integers(0, 3))
    def ask(self, number: int) -> None:
        self.world.platform.asked.fire("t", FireTrigger(key=f"k{number}"), by=AUTHOR)

    @rule(seconds=st.sampled_from([1, 30, 60]))
    def pass_time(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def end_one(self) -> None:
        for one in self.world.platform.changes.open_ones()[:1]:
            self.world.platform.changes.cancel(one.id, "enough", by=SYSTEM)

    def changes(self) -> list[Change]:
        return list(reversed(self.world.platform.changes.list(limit=1000).items))

    def firings(self) -> list[Firing]:
        return list(reversed(self.triggers.history("t", limit=1000).items))

    @invariant()
    def each_cause_opens_one_change_at_most(self) -> None:
        caused = [each.caused_by for each in self.changes()]
        assert len(caused) == len(set(caused))
        opened = {each.key: each.change for each in self.firings() if each.state is FiringState.OPENED}
        assert opened == {each.caused_by: each.id for each in self.changes()}

    @invariant()
    def no_more_are_open_than_may_be(self) -> None:
        assert len(self.world.platform.changes.open_ones()) <= self.trigger.most_open

    @invariant()
    def a_cooldown_holds_for_what_nobody_asked_for(self) -> None:
        for before, after in zip(self.changes(), self.changes()[1:], strict=False):
            apart = (after.created_at - before.created_at).total_seconds()
            assert after.opened_by == AUTHOR.name or apart >= self.trigger.cooldown_s

    @invariant()
    def what_is_skipped_says_why_and_a_queue_skips_nothing(self) -> None:
        skipped = [each for each in self.firings() if each.state is FiringState.SKIPPED]
        assert all(each.reason and not each.change for each in skipped)
        if self.trigger.concurrency is Concurrency.QUEUE:
            assert skipped == []
            turns = [each.caused_by for each in self.changes() if each.caused_by.startswith("al_")]
            assert turns == sorted(turns)

    def teardown(self) -> None:
        """In the end everything has had its turn."""
        if not hasattr(self, "world"):
            return
        self.look()
        for _ in range(2 * len(self.keys) + 20):
            self.open()
            self.end_one()
            self.pass_time(60)
        assert self.triggers.waiting() == []
        assert {each.key for each in self.firings()} >= set(self.keys)


TestCauses = Causes.TestCase
TestCauses.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
