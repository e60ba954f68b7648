"""The conductor brings changes to their end with the rules alone to guide it, and can be cut short anywhere."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from headway.engines.conductor import LEASE_S
from headway.errors import LeaseLost
from headway.kernel.access import SYSTEM, Actor, Role
from headway.lifecycle.changes.records import Change, Stage
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.rollouts.records import RolloutState
from headway.lifecycle.runs.records import RunState
from tests.engines.world import DEPLOYMENT, POLICY, WORKER, ListedWorkers, World

OWNER = Actor(name="owner", role=Role.OWNER)


@pytest.fixture
def world() -> World:
    return World()


def shares(world: World) -> list[tuple[str, int]]:
    return [(share.release, share.percent) for share in world.platform.deployments.get(DEPLOYMENT).traffic]


def test_a_change_goes_all_the_way(world: World) -> None:
    conductor, change = world.conductor(), world.open()
    conductor.step()
    run = world.change(change).run
    assert world.change(change).stage is Stage.RUNNING
    assert world.workers.asked == [(run, Role.WORKER, "run", run)]

    version = world.work(run)
    conductor.step()
    assert (world.change(change).stage, world.change(change).model_version) == (Stage.REGISTERED, version.id)
    gate = f"gate-{change.id}"
    assert world.workers.asked[1:] == [(gate, Role.GATEKEEPER, "gate", change.id)]
    assert world.workers.alive == {gate}

    world.judge(change)
    conductor.step()
    conductor.step()
    assert world.change(change).stage is Stage.JUDGED
    assert world.workers.alive == set()

    world.approve(change)
    conductor.step()
    release = world.change(change).release
    assert world.change(change).stage is Stage.ROLLING_OUT
    assert shares(world) == [(release, 100)]

    conductor.step()
    assert world.change(change).stage is Stage.ROLLING_OUT, "nothing has been seen of it yet"
    world.serve()
    world.capture(release)
    conductor.step()
    conductor.step()
    assert world.change(change).stage is Stage.SETTLED
    assert [moment.stage for moment in world.change(change).history] == list(Stage)[:7]
    assert world.platform.ledger.entries()


def test_a_second_release_goes_by_steps_and_waits_for_the_servers(world: World) -> None:
    first = world.settle(world.open()).release
    conductor, change = world.conductor(), world.open()
    while world.change(change).stage is not Stage.ROLLING_OUT:
        conductor.step()
        now = world.change(change)
        if now.stage is Stage.RUNNING:
            world.work(now.run)
        elif now.stage is Stage.REGISTERED:
            world.judge(now)
        elif now.stage is Stage.JUDGED:
            world.approve(now)
    conductor.step()
    second = world.change(change).release
    assert shares(world) == [(first, 90), (second, 10)]
    world.capture(second)
    conductor.step()
    assert shares(world) == [(first, 90), (second, 10)], "no server has the table of this step yet"
    world.serve()
    world.target.lag = 1
    conductor.step()
    assert shares(world) == [(first, 90), (second, 10)]
    world.target.lag = 0
    conductor.step()
    assert shares(world) == [(second, 100)]
    world.serve()
    conductor.step()
    assert world.change(change).stage is Stage.ROLLING_OUT, "this step has seen nothing yet"
    world.capture(second)
    conductor.step()
    conductor.step()
    assert world.change(change).stage is Stage.SETTLED


def rolling_out(world: World) -> Change:
    """A change, by break-glass, at the first step of its rollout beside a release that serves."""
    world.settle(world.open())
    conductor, change = world.conductor(), world.open(break_glass="test", by=OWNER)
    conductor.step()
    world.work(world.change(change).run)
    conductor.step()
    conductor.step()
    world.serve()
    return world.change(change)


def test_what_fails_is_rolled_back(world: World) -> None:
    change = rolling_out(world)
    before = world.platform.rollouts.get(change.rollout).incumbent
    world.capture(change.release, rows=100, errors=60)
    conductor = world.conductor()
    conductor.step()
    assert shares(world) == [(before, 100)]
    conductor.step()
    ended = world.change(change)
    assert (ended.stage, ended.verdict) == (Stage.REJECTED, "")
    assert ended.reason.startswith("rolled back: errors: 60 of 100")
    assert world.platform.rollouts.get(change.rollout).state is RolloutState.ROLLED_BACK


def test_counts_of_a_step_start_over_after_a_restart_from_what_was_captured(world: World) -> None:
    change = rolling_out(world)
    conductor = world.conductor()
    conductor.step()
    world.capture(change.release, rows=30)
    conductor.step()
    assert world.platform.rollouts.get(change.rollout).step == 0
    world.capture(change.release, rows=30)
    world.conductor().step()
    assert world.platform.rollouts.get(change.rollout).step == 1, "30 were seen before the restart, 30 after it"
    world.serve()
    world.conductor().step()
    assert world.platform.rollouts.get(change.rollout).state is RolloutState.RUNNING, "the next step has seen none"


def test_who_waits_too_long_goes_back(world: World) -> None:
    change = rolling_out(world)
    world.clock.advance(POLICY.patience_s + 1)
    world.conductor().step()
    world.conductor().step()
    assert world.change(change).reason.startswith("rolled back: still unproven after 60")


def test_a_gate_that_says_no_ends_the_change(world: World) -> None:
    conductor, change = world.conductor(), world.open()
    conductor.step()
    world.work(world.change(change).run)
    conductor.step()
    world.judge(change, Outcome.UNPROVEN)
    conductor.step()
    assert world.change(change).reason == "the gate said unproven: accuracy: measured"
    assert world.platform.releases.list().items == ()


def test_workers_that_die_are_tried_three_times(world: World) -> None:
    conductor, change = world.conductor(), world.open()
    for _ in range(5):
        conductor.step()
        world.workers.alive.clear()
    run = world.change(change).run
    assert [each[0] for each in world.workers.asked] == [run] * 3
    conductor.step()
    assert world.platform.runs.get(run).state is RunState.FAILED
    assert world.change(change).stage is Stage.REJECTED
    assert f"its last words, in {run}.log: " in world.change(change).reason


def test_a_gate_whose_worker_dies_three_times_says_what_it_said(world: World, tmp_path: Path) -> None:
    world.workers = ListedWorkers(tmp_path)
    conductor, change = world.conductor(), world.open()
    conductor.step()
    world.work(world.change(change).run)
    log = tmp_path / f"gate-{change.id}.log"
    for _ in range(4):
        conductor.step()
        world.workers.alive.clear()
        log.write_text("Traceback (most recent call last):\nModuleNotFoundError: No module named 'polars'\n")
    assert world.change(change).stage is Stage.REJECTED
    assert world.change(change).reason == (
        "the gate's worker ended 3 times without measuring it; "
        f"its last words, in {log.name}: ModuleNotFoundError: No module named 'polars'"
    )


def test_a_candidate_whose_server_ends_again_and_again_goes_back(world: World) -> None:
    """What it was asked meanwhile is captured nowhere."""
    change, conductor = rolling_out(world), world.conductor()
    world.target.ends = 7
    conductor.step()
    world.target.ready = False
    world.target.ends = 11
    conductor.step()
    assert world.platform.rollouts.get(change.rollout).state is RolloutState.RUNNING
    world.target.ends = 3  # another server, which counts from the beginning
    conductor.step()
    world.target.ends = 4
    conductor.step()
    assert world.platform.rollouts.get(change.rollout).state is RolloutState.ROLLED_BACK
    conductor.step()
    told = "rolled back: processes of its server ended 5 times unasked while it was served"
    assert world.change(change).reason.startswith(told)


def test_a_run_that_a_worker_holds_is_left_to_it(world: World) -> None:
    conductor, change = world.conductor(), world.open()
    conductor.step()
    run = world.change(change).run
    world.platform.runs.claim(run, "a worker of a control plane before this one")
    world.workers.alive.clear()
    conductor.step()
    assert len(world.workers.asked) == 1
    world.clock.advance(LEASE_S + 1)
    conductor.step()
    assert len(world.workers.asked) == 2


def test_a_cancelled_change_ends_its_run_and_its_worker(world: World) -> None:
    conductor, change = world.conductor(), world.open()
    conductor.step()
    run = world.change(change).run
    assert world.workers.alive == {run}
    world.platform.changes.cancel(str(change.number), "not today", by=OWNER)
    assert world.platform.runs.get(run).state is RunState.CANCELLED
    conductor.step()
    assert world.workers.alive == set()


def test_only_the_holder_of_the_lease_acts(world: World) -> None:
    here, there, change = world.conductor("here"), world.conductor("there"), world.open()
    here.step()
    world.work(world.change(change).run)
    there.step()
    assert world.change(change).stage is Stage.RUNNING
    world.clock.advance(LEASE_S + 1)
    there.step()
    assert world.change(change).stage is Stage.REGISTERED
    here.close()
    there.step()
    there.close()
    here.step()
    assert world.workers.closed


def test_a_conductor_that_was_overtaken_stops_in_the_middle(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Between its look and its move another has taken the lease: the move is refused, and nothing else is tried."""
    first, second = world.open(), world.open()

    class Overtaking(ListedWorkers):
        def ensure(self, *arguments: object, **options: object) -> bool:
            world.clock.advance(LEASE_S + 1)
            assert world.stores.leases.take("conductor", "there", world.clock.now(), LEASE_S)
            return True

    world.workers = Overtaking()
    with caplog.at_level(logging.WARNING):
        world.conductor("here").step()
    assert "another conductor has taken over" in caplog.text
    assert world.change(first).stage is Stage.RUNNING
    assert world.change(second).stage is Stage.OPENED


def test_one_change_that_cannot_go_on_does_not_hold_up_another(world: World, caplog: pytest.LogCaptureFixture) -> None:
    held, other = world.open(), world.open()
    conductor = world.conductor()
    conductor.step()
    world.work(world.change(held).run)
    world.work(world.change(other).run)
    conductor.step()
    world.judge(held)
    conductor.step()
    # The gate is made stricter after its verdict, and asks for what nobody can give.
    world.platform.environments.declare(
        "production", by=SYSTEM, gate=(CheckSpec(check="accuracy"),), approvals=0, rollout=POLICY.but(steps=(100,))
    )
    world.judge(other)
    conductor.step()
    conductor.step()
    stages = {world.change(held).stage, world.change(other).stage}
    assert stages == {Stage.ROLLING_OUT, Stage.RELEASED}, "one deployment, one rollout at a time"
    assert caplog.text == ""


def test_a_worker_may_finish_while_nobody_looks(world: World) -> None:
    """All that a change gathers is found by its id: a conductor that starts afresh goes on from there."""
    change = world.open()
    world.conductor().step()
    world.work(world.change(change).run)
    world.workers = ListedWorkers()
    world.conductor().step()
    world.judge(change)
    world.conductor().step()
    world.approve(change)
    world.conductor().step()
    assert world.change(change).stage is Stage.ROLLING_OUT
    assert len(world.platform.runs.list(change=change.id).items) == 1
    assert world.platform.runs.get(world.change(change).run).started_by == "author"
    assert WORKER.name in {entry.actor for entry in world.platform.ledger.entries()}


def test_a_late_worker_cannot_finish_a_run_that_was_handed_on(world: World) -> None:
    change = world.open()
    world.conductor().step()
    run, runs = world.change(change).run, world.platform.runs
    late = runs.claim(run, "late")
    with pytest.raises(LeaseLost):
        runs.claim(run, "next")
    world.clock.advance(LEASE_S + 1)
    following = runs.claim(run, "next")
    assert following.token > late.token
    for state in (RunState.RUNNING, RunState.FAILED):
        with pytest.raises(LeaseLost):
            runs.move(run, state, by=WORKER, token=late.token)
    assert runs.get(run).state is RunState.PENDING
    runs.move(run, RunState.RUNNING, by=WORKER, token=following.token)
    assert runs.move(run, RunState.FINISHED, by=WORKER, token=following.token).state is RunState.FINISHED
