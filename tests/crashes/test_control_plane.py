"""`kill -9` of the control plane at every boundary of a change: what was begun goes on, once, and nobody notices."""

from __future__ import annotations

import random
import time

import pytest

from headway.lifecycle.changes.records import OVER, Stage
from tests.crashes.agreement import captured, model_servers, opened, settled, shares
from tests.crashes.clients import Clients
from tests.journeys.world import World, until

_MOST_CRASHES = 10


def crash(world: World) -> None:
    """Kill the control plane; its workers end by themselves, its model servers go on."""
    before = model_servers(world)
    world.kill()
    until(lambda: len(world.processes()) == len(before), "what works for it ends with it", 2.0)
    assert model_servers(world) == before
    world.start()


def test_one_change_and_a_crash_at_every_boundary(world: World) -> None:
    held_run, held_gate = world.project / "hold-run", world.project / "hold-gate"
    held_run.touch()
    held_gate.touch()
    server, before = model_servers(world), captured(world)
    with Clients(world) as clients:
        number = opened(world)
        crash(world)  # opened, or a moment later

        until((world.project / "hold-run.reached").exists, "the step runs")
        assert world.change(number).stage is Stage.RUNNING
        crash(world)
        held_run.unlink()

        (world.project / "hold-gate.reached").unlink(missing_ok=True)
        until((world.project / "hold-gate.reached").exists, "the gate measures")
        assert world.change(number).stage is Stage.REGISTERED
        crash(world)
        held_gate.unlink()

        world.reached(number, Stage.JUDGED)
        crash(world)
        world.approver.changes.approve(str(number), "it may")
        crash(world)  # released, or a moment before or later

        release = world.reached(number, Stage.ROLLING_OUT).release
        for percent in (10, 50, 100):
            until(lambda wanted=percent: wanted in shares(world, release), f"{percent} %")  # type: ignore[misc]
            crash(world)
        change = settled(world, number)
    assert change.stage is Stage.SETTLED
    assert shares(world, release) == [10, 50, 100]
    assert model_servers(world) == server
    assert clients.failures == []
    everything_was_captured(world, clients, before)


def everything_was_captured(world: World, clients: Clients, before: int) -> None:
    """Every row that was answered has come to the control plane, once, over all its crashes."""
    wanted = before + clients.asked
    until(lambda: captured(world) >= wanted, "what was answered is captured", 20)
    assert captured(world) == wanted


def test_a_crash_after_a_roll_back_leaves_what_served_before(world: World) -> None:
    before = world.owner.deployments.get(world.deployment).traffic
    with Clients(world) as clients:
        number = opened(world, client=world.owner, break_glass="to roll it back")
        change = world.reached(number, Stage.ROLLING_OUT)
        until(lambda: 10 in shares(world, change.release), "it has traffic")
        world.owner.rollouts.roll_back(change.rollout, "it was a drill")
        crash(world)
        change = settled(world, number)
    assert (change.stage, change.reason) == (Stage.REJECTED, "rolled back: it was a drill")
    assert world.owner.deployments.get(world.deployment).traffic == before
    assert shares(world, change.release) == [10, 0]
    assert clients.failures == []


def test_it_comes_back_at_another_port_and_the_model_server_finds_it(world: World) -> None:
    server, before = model_servers(world), captured(world)
    world.kill()
    world.move()
    world.start()
    with Clients(world) as clients:
        until(lambda: clients.asked > 50, "clients are answered")
    everything_was_captured(world, clients, before)
    assert model_servers(world) == server


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_crashes_at_any_time(world: World, seed: int) -> None:
    chance, before = random.Random(seed), captured(world)
    with Clients(world) as clients:
        number = opened(world)
        crashes, deadline = 0, time.monotonic() + 240
        while not world.change(number).over and time.monotonic() < deadline:
            time.sleep(chance.uniform(0.0, 1.5))
            change = world.change(number)
            if change.stage is Stage.JUDGED and not world.owner.changes.approvals(str(number)):
                world.approver.changes.approve(str(number), "it may")
            if change.stage not in OVER and crashes < _MOST_CRASHES:
                crashes += 1
                crash(world)
        change = settled(world, number)
    assert change.stage is Stage.SETTLED
    assert shares(world, change.release) == [10, 50, 100]
    assert clients.failures == []
    everything_was_captured(world, clients, before)
