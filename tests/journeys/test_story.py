"""The whole story on small data, once for each way in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from headway.kernel.access import Role
from headway.lifecycle.changes.records import Stage
from tests.journeys.conftest import Prepared
from tests.journeys.table import DAYS, orders
from tests.journeys.traffic import Traffic
from tests.journeys.ways import WAYS, Refusal, Way
from tests.journeys.world import DEPLOYMENT, World, until

_MORE_DAYS = 2
_A_DAY = 160
_MOST_DAYS = 40


class Story:
    """One server, people who come to it in one way, and days that go by."""

    def __init__(self, way: str, world: World, prepared: Prepared, folder: Path) -> None:
        self.world, self.prepared, self.folder = world, prepared, folder
        self.author = self._person(way, "an author", Role.AUTHOR)
        self.lead = self._person(way, "a lead", Role.OWNER)
        self.approver = self._person(way, "an approver", Role.APPROVER)
        self._day = DAYS + _MORE_DAYS
        self.traffic: Traffic | None = None

    def _person(self, way: str, name: str, role: Role) -> Way:
        return WAYS[way](self.world.url, self.world.token(name, role))

    def close(self) -> None:
        for person in (self.author, self.lead, self.approver):
            person.close()

    def table(self, name: str, frame: pl.DataFrame) -> Path:
        file = self.folder / f"{name}.parquet"
        frame.write_parquet(file)
        return file

    def play_until(self, over: Callable[[], bool], *, drifted: bool = False) -> None:
        """Let days of traffic go by until `over`."""
        self.traffic = self.traffic or Traffic(self.world.owner, DEPLOYMENT)
        for _ in range(_MOST_DAYS):
            self.traffic.play(orders(self._day, 1, a_day=_A_DAY, drifted=drifted))
            self._day += 1
            if over():
                return
        raise AssertionError(f"nothing came of {_MOST_DAYS} days of traffic")

    def ends(self, number: int) -> Callable[[], bool]:
        """Whether the change is over, or soon: what traffic shows is looked at four times a second."""

        def over() -> bool:
            for _ in range(15):
                if self.world.change(number).over:
                    return True
                time.sleep(0.02)
            return False

        return over


@pytest.fixture(params=list(WAYS))
def story(request: pytest.FixtureRequest, prepared: Prepared, tmp_path: Path) -> Iterator[Story]:
    world = World(tmp_path, home=prepared.home)
    try:
        opened = Story(request.param, world.start(), prepared, tmp_path)
        yield opened
        opened.close()
    finally:
        world.close()


def test_from_data_to_production_and_back(story: Story) -> None:
    version = add_data(story)
    first = deliver_the_first(story)
    second = move_on_by_steps(story)
    roll_back_what_skipped_the_gate(story)
    retrain_after_an_alert(story)
    look_back(story, first, second, version)


def add_data(story: Story) -> str:
    """A version with two more days; one that breaks the contract is refused, and nothing of it is kept."""
    bad = orders(0, DAYS + _MORE_DAYS).with_columns(pl.col("weight_kg") * 1000)
    with pytest.raises(Refusal, match="weight_kg") as refusal:
        story.author.add_dataset("orders", story.table("grams", bad), story.prepared.contract)
    assert refusal.value.code == "contract_broken"
    whole = story.table("whole", orders(0, DAYS + _MORE_DAYS))
    added = story.author.add_dataset("orders", whole, story.prepared.contract)
    assert added["number"] == 2
    assert story.author.add_dataset("orders", whole, story.prepared.contract) == added
    return str(added["id"])


def deliver_the_first(story: Story) -> str:
    """From a pipeline's run to an endpoint that answers. Gives the release."""
    world = story.world
    number = story.lead.open_change(deployment=DEPLOYMENT, pipeline="train", params={"strength": "0.9"}, why="a first")[
        "number"
    ]
    judged = world.reached(number, Stage.JUDGED)
    verdict = world.owner.gates.verdict(judged.verdict)
    assert (verdict.outcome, len(verdict.evidence)) == ("pass", 9)
    with pytest.raises(Refusal, match="a lead") as refusal:
        story.lead.approve(number, "I trust myself")
    assert refusal.value.code == "not_approved"
    with pytest.raises(Refusal) as refusal:
        story.author.approve(number, "so do I")
    assert refusal.value.code == "forbidden"
    assert story.approver.approve(number, "better than a guess")["decision"] == "agree"

    release = world.reached(number, Stage.ROLLING_OUT).release
    assert story.author.check_release(release)["label"] == "lateness@6"
    until(lambda: ready(story), "the endpoint is ready")
    story.play_until(story.ends(number))
    assert story.author.change(number)["stage"] == "settled"
    assert story.traffic is not None
    assert story.traffic.failures == []
    return release


def ready(story: Story) -> bool:
    try:
        endpoint = story.author.endpoint(DEPLOYMENT)
    except Refusal:
        return False
    return bool(endpoint and endpoint["ready"])


def move_on_by_steps(story: Story) -> str:
    """A version that is there already, to 10, 50 and 100 percent of the traffic. Gives the release."""
    world = story.world
    number = story.author.open_change(
        deployment=DEPLOYMENT, model_version=story.prepared.models["better"], why="a better one"
    )["number"]
    world.reached(number, Stage.JUDGED)
    story.approver.approve(number, "not worse")
    release = world.reached(number, Stage.ROLLING_OUT).release
    story.play_until(story.ends(number))
    change = story.author.change(number)
    assert (change["stage"], change["cause"], change["opened_by"]) == ("settled", "person", "an author")
    assert shares_of(world, release)[-3:] == [10, 50, 100]
    return release


def shares_of(world: World, release: str) -> list[int]:
    """The percent that the release had after each move of the traffic, oldest first."""
    moves = sorted(world.owner.deployments.traffic(DEPLOYMENT).items, key=lambda move: move.generation)
    return [next((share.percent for share in move.traffic if share.release == release), 0) for move in moves]


def roll_back_what_skipped_the_gate(story: Story) -> None:
    """A model that says the opposite is stopped by what it does, and nobody's request fails meanwhile."""
    world, reason = story.world, "the site is down and this may help"
    command = {
        "deployment": DEPLOYMENT, "model_version": story.prepared.models["inverted"], "break_glass": reason,
    }  # fmt: skip
    with pytest.raises(Refusal) as refusal:
        story.author.open_change(**command)
    assert refusal.value.code == "forbidden"
    before = world.owner.deployments.get(DEPLOYMENT).traffic
    number = story.lead.open_change(**command)["number"]
    release = world.reached(number, Stage.ROLLING_OUT).release
    assert story.traffic is not None
    story.play_until(story.ends(number))
    change = story.author.change(number)
    assert (change["stage"], change["verdict"]) == ("rejected", "")
    assert change["reason"].startswith("rolled back: quality is worse")
    assert world.owner.deployments.get(DEPLOYMENT).traffic == before
    assert story.author.check_release(release)["break_glass"] == f"a lead: {reason}"
    assert f"a lead: {reason}" in story.author.why(release)
    assert story.traffic.failures == []


def retrain_after_an_alert(story: Story) -> None:
    """Other orders than it learnt from raise an alert, which opens a change; a person gives that up."""
    story.play_until(lambda: bool(story.author.alerts()), drifted=True)
    (alert,) = story.author.alerts()
    assert (alert["monitor"], alert["state"]) == ("inputs", "open")

    def opened() -> dict[str, object] | None:
        return next((change for change in story.author.changes() if change["caused_by"] == alert["id"]), None)

    change = until(opened, "the alert opens a change")
    assert (change["cause"], change["pipeline"]) == ("alert", "train")
    number = change["number"]
    assert isinstance(number, int)
    run = story.world.reached(number, Stage.RUNNING).run
    assert story.lead.cancel(number, "it is a sale, not a drift")["stage"] == "rejected"
    assert story.world.owner.runs.get(run).state == "cancelled"


def look_back(story: Story, first: str, second: str, version: str) -> None:
    """What served when, where it came from, and that nobody has touched the books."""
    moves = sorted(story.world.owner.deployments.traffic(DEPLOYMENT).items, key=lambda move: move.generation)
    moments = [move.created_at for move in moves]
    with pytest.raises(Refusal) as refusal:
        story.author.served(DEPLOYMENT, (moments[0] - timedelta(seconds=1)).isoformat())
    assert refusal.value.code == "not_found"
    for move, end in zip(moves, [*moments[1:], moments[-1] + timedelta(days=1)], strict=True):
        middle: datetime = move.created_at + (end - move.created_at) / 2
        then = story.author.served(DEPLOYMENT, middle.isoformat())
        assert [share["release"] for share in then["traffic"]] == [share.release for share in move.traffic]
    assert [share.release for share in moves[0].traffic] == [first]
    assert [share.release for share in moves[-1].traffic] == [second]

    assert version in {edge.parent for edge in story.world.owner.lineage.of(first).up}
    seen = story.author.verify()
    assert story.lead.verify() >= seen > 100
