"""A bandit on a real server: two releases, real requests, labels a day late, shares that follow them, and its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headway.cli.main import main
from headway.kernel.access import Role
from headway.kernel.records import encode
from headway.lifecycle.changes.records import OpenChange, Stage
from headway.lifecycle.rollouts.records import Rollout, RolloutState
from tests.journeys.conftest import Prepared
from tests.journeys.table import orders
from tests.journeys.traffic import Traffic
from tests.journeys.ways import CommandLine, Http, Sdk
from tests.journeys.world import DEPLOYMENT, PROJECT, World, until

ROLLOUT = """[environments.production.rollout]
kind = "bandit"
steps = [50, 100]
reward = "correct"
batch_labels = 30
arm_labels = 60
arm_days = 3
label_lag_days = 0
min_requests = 40
max_error_rate = 0.15
latency_budget_us = 5_000_000
max_slow_rate = 0.15

"""
_FIRST_DAY, _A_DAY = 60, 160
_LEAST_DAYS, _PATIENCE_S = 40, 120.0


class Days:
    """Days of orders that are asked about, and whose labels are handed in on the next day, before its own are asked."""

    def __init__(self, world: World) -> None:
        self.world, self.day = world, _FIRST_DAY
        self.traffic: Traffic | None = None

    def until(self, over: Callable[[], bool]) -> None:
        self.traffic = self.traffic or Traffic(self.world.owner, DEPLOYMENT)
        first, deadline = self.day, time.monotonic() + _PATIENCE_S
        while self.day < first + _LEAST_DAYS or time.monotonic() < deadline:
            self.traffic.label()
            self.traffic.ask(orders(self.day, 1, a_day=_A_DAY))
            self.traffic.flush()
            self.day += 1
            for _ in range(20):
                if over():
                    return
                time.sleep(0.02)
        raise AssertionError(f"nothing came of {self.day - first} days of traffic")


@pytest.fixture
def world(prepared: Prepared, tmp_path: Path) -> Iterator[World]:
    project = tmp_path / "told" / "orders"
    project.mkdir(parents=True)
    for file in PROJECT.glob("*.*"):
        text = file.read_text()
        if file.name == "headway.toml":
            before, _, rest = text.partition("[environments.production.rollout]\n")
            text = before + ROLLOUT + rest[rest.index("[deployments.") :]
        (project / file.name).write_text(text)
    made = World(tmp_path, project=project, home=prepared.home)
    try:
        yield made.start()
    finally:
        made.close()


def test_a_bandit_from_its_start_to_its_end(world: World, prepared: Prepared) -> None:
    days = Days(world)
    worse = shipped(world, days, prepared.models["inverted"])
    client = world.owner
    command = OpenChange(deployment=DEPLOYMENT, model_version=prepared.models["good"], break_glass="a better one")
    number = client.changes.open(command).number
    better = world.reached(number, Stage.ROLLING_OUT).release
    begun = until(lambda: rollout(world, better), "the rollout begins")
    assert (begun.reward, begun.arms) == ("correct", (worse, better))
    days.until(lambda: client.rollouts.get(begun.id).over)
    ended = client.rollouts.get(begun.id)
    assert (ended.state, world.reached(number, Stage.SETTLED).release) == (RolloutState.PROMOTED, better)
    assert [share.release for share in client.deployments.get(DEPLOYMENT).traffic] == [better]
    check_evidence(world, ended)
    back_by_hand(world, days, worse, better)
    assert days.traffic is not None
    assert days.traffic.failures == []
    assert client.ledger.verify() > 100


def shipped(world: World, days: Days, version: str) -> str:
    """The first release has all traffic at once."""
    command = OpenChange(deployment=DEPLOYMENT, model_version=version, break_glass="to begin with")
    number = world.owner.changes.open(command).number
    release = world.reached(number, Stage.ROLLING_OUT).release
    until(world.ready, "the endpoint is ready")
    days.until(lambda: world.change(number).over)
    return release


def rollout(world: World, candidate: str) -> Rollout | None:
    found = [one for one in world.owner.rollouts.list(DEPLOYMENT).items if one.candidate == candidate]
    return found[0] if found and found[0].step >= 0 else None


def check_evidence(world: World, ended: Rollout) -> None:
    """Each move of the shares is an act with the numbers that it was made for."""
    moves = [move for move in world.owner.deployments.traffic(DEPLOYMENT).items if move.standing]
    assert moves
    for move in moves:
        assert move.rollout == ended.id
        assert [(one.release, one.percent) for one in move.standing] == [
            (share.release, share.percent) for share in move.traffic
        ]
        assert sum(one.chance for one in move.standing) == pytest.approx(1)
        assert min(one.percent for one in move.standing) >= 10
        assert "is the best with probability" in move.why
    last = max(moves, key=lambda move: move.generation).standing
    assert last[1].mean > last[0].mean
    assert last[1].percent > 80
    verbs = [entry.verb for entry in world.owner.ledger.list(subject=ended.id)]
    assert {"rollout.start", "rollout.advance", "rollout.weigh", "rollout.promoted"} <= set(verbs)


def back_by_hand(world: World, days: Days, worse: str, better: str) -> None:
    """Started on the command line, the worse release loses; all three ways in say the same of it."""
    cli = CommandLine(world.url, world.token("an operator", Role.OPERATOR))
    begun: dict[str, Any] = cli._run("rollout", "start", DEPLOYMENT, worse, "--why", "once more")
    until(lambda: world.owner.rollouts.get(begun["id"]).step == 0, "it begins")
    days.until(lambda: world.owner.rollouts.get(begun["id"]).over)
    told = cli._run("rollout", "show", begun["id"])
    assert told["state"] == "rolled_back"
    assert told["reason"].startswith("the release before is the best")
    env = {"HEADWAY_URL": world.url, "HEADWAY_TOKEN": world.token("a third", Role.READER)}
    shown = CliRunner().invoke(main, ["rollout", "show", begun["id"]], env=env)
    assert "best with probability" in shown.stdout
    http = Http(world.url, world.token("a reader", Role.READER))
    assert http._get(f"/v1/rollouts/{begun['id']}") == told
    sdk = Sdk(world.url, world.token("another", Role.READER))
    assert json.loads(encode(sdk._plain(lambda: sdk._client.rollouts.get(begun["id"])))) == told
    for way in (http, sdk):
        way.close()
    assert [share.release for share in world.owner.deployments.get(DEPLOYMENT).traffic] == [better]
