"""Values out of a contract that says `change`: one alert, and by the trigger that listens to it one change."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from headway.engines.calendar import CronCalendar
from headway.engines.observer import Observer
from headway.engines.scheduler import Scheduler
from headway.errors import ContractBroken
from headway.kernel.access import SYSTEM
from headway.kernel.records import encode
from headway.lifecycle.changes.records import Cause, Change, Trigger
from headway.lifecycle.datasets.contract import ColumnRule, Contract, WhenSkewed
from headway.lifecycle.datasets.profile import Layout, Profile
from headway.lifecycle.datasets.records import AddVersion, AppendRows, DatasetVersion
from headway.lifecycle.datasets.schema import ColumnSummary, Kind, Summary
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.records import Watches, Window
from headway.lifecycle.monitors.skew import SkewedDay
from headway.testing.memory_platform import open_platform
from tests.engines.world import DEPLOYMENT, World

CHANGING = Contract(
    columns=(
        ColumnRule(name="x", kind=Kind.FLOAT, low=0, high=10),
        ColumnRule(name="y", kind=Kind.FLOAT, low=0, high=10, when_skewed=WhenSkewed.WARN),
    ),
    when_skewed=WhenSkewed.CHANGE, tolerated=0.05,
)  # fmt: skip


def columns(x: float, y: float) -> tuple[ColumnSummary, ...]:
    """A table whose values reach up to these."""
    highest = {"x": x, "y": y}
    return tuple(ColumnSummary(name=name, kind=Kind.FLOAT, nulls=0, low=1, high=high) for name, high in highest.items())


class Contracted(World):
    """Its data have a contract; `counted` is what segments of a day are found to hold."""

    def __init__(self, contract: Contract = CHANGING) -> None:
        self.contract, self.counted = contract, dict[str, SkewedDay]()
        super().__init__(open_platform(CronCalendar()))
        for watches in (Watches.SKEW, Watches.DATA):
            self.platform.monitors.declare(watches, DEPLOYMENT, watches, {}, by=SYSTEM)
            trigger = Trigger(
                id=f"tr_{watches}", created_at=self.clock.now(), name=f"on-{watches}", on=Cause.ALERT, pipeline="train",
                deployment=DEPLOYMENT, source=watches,
            )  # fmt: skip
            self.platform.triggers.declare(trigger, by=SYSTEM)

    def dataset(self, name: str, note: str = "") -> str:
        return self.add(name).id

    def add(self, name: str, x: float = 9.0, y: float = 9.0) -> DatasetVersion:
        self.made += 1
        self.clock.advance(1)
        blob = self.platform.blobs.put(encode(Summary(rows=self.made, columns=columns(x, y))))
        command = AddVersion(dataset=name, blob=blob, contract=self.contract)
        return self.platform.datasets.add(command, by=SYSTEM)

    def skewed_day(self, segments: Sequence[bytes], day: str, release: str, columns: Collection[str]) -> SkewedDay:
        if not columns:
            assert segments == []
            return SkewedDay(rows=0, skewed=0)
        assert (release, set(columns), bool(segments)) == (self.release, {"x"}, True)
        return self.counted.get(day, SkewedDay(rows=1000, skewed=40, columns={"x": 40}))

    @property
    def release(self) -> str:
        serving = self.platform.deployments.get(DEPLOYMENT).serving
        assert serving
        return serving

    def look(self) -> list[Change]:
        """The changes that skew has opened, oldest first, after a look at everything; by new engines, as after a
        restart."""
        Observer(self.platform, no_profile, self.skewed_day).step()
        Scheduler(self.platform, self.clock, CronCalendar()).step()
        made = [change for change in self.platform.changes.list().items if change.cause is Cause.ALERT]
        return sorted(made, key=lambda change: change.number)

    def windows(self, monitor: str) -> list[Window]:
        return sorted(self.platform.monitors.windows(monitor).items, key=lambda window: window.id)


def no_profile(segments: Sequence[bytes], day: str, layout: Layout) -> Profile:
    raise AssertionError("no monitor of this test profiles a day")


@pytest.fixture
def world() -> Contracted:
    made = Contracted()
    made.settle(made.open())
    return made


def test_skewed_data_open_one_change(world: Contracted) -> None:
    assert world.look() == []
    world.add("training")
    world.add("training", y=99.0)  # is only warned of
    assert world.look() == []
    version = world.add("training", x=99.0)
    assert [each.rule for each in version.skew] == ["high"]
    for _ in range(3):
        [change] = world.look()
    [alert] = world.platform.monitors.unresolved()
    assert (change.caused_by, change.why, alert.monitor) == (alert.id, alert.message, "data")
    assert alert.message == f"{version.label}: column 'x' breaks rule 'high': expected <= 10, found 99"
    assert version.id in [edge.parent for edge in world.stores.lineage.parents(alert.window)]
    outcomes = [(window.day, window.outcome) for window in world.windows("data")]
    assert outcomes == [("training@2", "pass"), ("training@3", "pass"), ("training@4", "fail")]


def test_what_opened_a_change_is_no_news_to_the_next_release(world: Contracted) -> None:
    world.add("training", x=99.0)
    [change] = world.look()
    world.settle(change)
    assert [each.stage for each in world.look()] == ["settled"]
    assert world.platform.monitors.unresolved() == ()
    world.add("training", x=98.0)
    assert [each.stage for each in world.look()] == ["settled", "opened"]


def test_data_that_the_model_has_learnt_from_are_no_news() -> None:
    world = Contracted()
    world.add("training", x=99.0)
    world.settle(world.open())
    assert (world.look(), world.windows("data")) == ([], [])


def test_other_data_are_looked_at_if_they_are_named(world: Contracted) -> None:
    world.add("orders", x=99.0)
    assert world.look() == []
    world.clock.advance(1)
    world.platform.monitors.declare("data", DEPLOYMENT, Watches.DATA, {"datasets": ["orders"]}, by=SYSTEM)
    world.add("training", x=99.0)
    newest = world.add("orders", x=98.0)
    assert len(world.look()) == 1
    assert newest.label in [window.day for window in world.windows("data")]


def test_skewed_requests_open_one_change(world: Contracted) -> None:
    world.counted = {"2026-01-03": SkewedDay(rows=1000, skewed=120, columns={"x": 120})}
    for day in range(1, 6):
        world.capture(world.release, at=world.at_noon(day))
        changes = world.look()
        assert len(changes) == (day >= 3)
    [alert] = world.platform.monitors.unresolved()
    assert [change.caused_by for change in changes] == [alert.id]
    assert "skew: 12.00% of 1,000 rows break rules of values" in alert.message
    windows = world.windows("skew")
    assert [window.outcome for window in windows][:3] == [Outcome.PASS, Outcome.PASS, Outcome.FAIL]
    contract = world.platform.models.version(world.platform.releases.get(world.release).model_version).contract
    assert contract is not None
    assert windows[2].numbers["contract"] == contract.digest
    assert windows[2].numbers["tolerated"] == contract.tolerated == 0.05


def test_what_is_only_warned_of_opens_nothing() -> None:
    world = Contracted(CHANGING.but(when_skewed=WhenSkewed.WARN))
    world.settle(world.open())
    world.add("training", x=99.0)
    world.capture(world.release, at=world.at_noon(2))
    assert world.look() == []
    assert {window.outcome for window in world.windows("skew")} == {Outcome.UNPROVEN}
    assert "no column of the contract says" in world.windows("skew")[0].reason


def test_what_is_refused_opens_nothing() -> None:
    world = Contracted(CHANGING.but(when_skewed=WhenSkewed.REFUSE))
    world.settle(world.open())
    with pytest.raises(ContractBroken):
        world.add("training", x=99.0)
    assert world.look() == []


def test_good_rows_behind_skewed_ones_are_no_news(world: Contracted) -> None:
    first = world.add("training", x=99.0)
    [change] = world.look()
    world.settle(change)
    world.clock.advance(1)
    newest = world.add("training", x=99.5)
    blob = world.platform.blobs.put(encode(Summary(rows=3, columns=columns(9.0, 9.0))))
    appended = world.platform.datasets.append(AppendRows(dataset="training", after=newest.id, blob=blob), by=SYSTEM)
    assert len(appended.skew) == 1, "the table as a whole still breaks the rule"
    assert len(world.look()) == 2
    by_label = {window.day: window.outcome for window in world.windows("data")}
    assert (by_label[first.label], by_label[newest.label], by_label[appended.label]) == ("fail", "fail", "pass")


def test_a_table_that_came_whole_is_news_as_a_whole_though_it_shares_a_part(world: Contracted) -> None:
    first = world.add("training", x=99.0)
    blob = world.platform.blobs.put(encode(Summary(rows=3, columns=columns(9.0, 9.0))))
    command = AddVersion(dataset="training", blob=first.blob, parts=(blob,), together=2)
    whole = world.platform.datasets.add(command, by=SYSTEM)
    assert (whole.together, len(whole.parts), len(whole.skew)) == (2, 2, 1)
    world.look()
    by_label = {window.day: window.outcome for window in world.windows("data")}
    assert (by_label[first.label], by_label[whole.label]) == ("fail", "fail")
