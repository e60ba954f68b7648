"""Traffic steered by hand: rollouts that a person starts, and callers who are pinned."""

from __future__ import annotations

import pytest

from headway.errors import Conflict, Forbidden, IllegalMove, Invalid, NotFound, QuotaExceeded
from headway.kernel.access import SYSTEM, Actor, Role
from headway.lifecycle.rollouts.deployments import MOST_PINS
from headway.lifecycle.rollouts.records import Rollout, RolloutState, Shadow
from headway.lifecycle.rollouts.routing import PinIndex
from tests.engines.world import AUTHOR, DEPLOYMENT, World

OPERATOR = Actor(name="operator", role=Role.OPERATOR)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def served(world: World) -> tuple[str, str]:
    """The release before, and the one that serves."""
    return world.settle(world.open()).release, world.settle(world.open()).release


def shares(world: World) -> list[tuple[str, int]]:
    return [(share.release, share.percent) for share in world.platform.deployments.get(DEPLOYMENT).traffic]


def begun(world: World, release: str, *steps: int) -> Rollout:
    rollout = world.platform.rollouts.start(DEPLOYMENT, release, by=OPERATOR, steps=steps, why="by hand")
    world.conductor().step()
    world.serve()
    return world.platform.rollouts.get(rollout.id)


def test_a_rollout_by_hand_goes_back_to_an_older_release_by_its_own_steps(
    world: World, served: tuple[str, str]
) -> None:
    old, new = served
    begun(world, old, 5, 25, 100)
    seen = [shares(world)]
    conductor = world.conductor()
    for _ in range(3):
        world.capture(old)
        conductor.step()
        world.serve()
        seen.append(shares(world))
    assert seen == [[(new, 95), (old, 5)], [(new, 75), (old, 25)], [(old, 100)], [(old, 100)]]
    assert world.platform.rollouts.list(DEPLOYMENT).items[0].state is RolloutState.PROMOTED
    assert "rollout.start" in {entry.verb for entry in world.platform.ledger.entries()}


def test_steps_of_the_environment_are_those_that_nobody_names(world: World, served: tuple[str, str]) -> None:
    assert begun(world, served[0]).steps == (10, 100)


@pytest.mark.parametrize("steps", [(5, 25), (0, 100), (50, 20, 100), (100, 101)])
def test_steps_that_do_not_rise_to_all_are_refused(
    world: World, served: tuple[str, str], steps: tuple[int, ...]
) -> None:
    with pytest.raises(Invalid, match="must rise"):
        begun(world, served[0], *steps)


def test_what_cannot_be_started(world: World, served: tuple[str, str]) -> None:
    deployments, rollouts = world.platform.deployments, world.platform.rollouts
    with pytest.raises(Conflict, match="already"):
        rollouts.start(DEPLOYMENT, served[1], by=OPERATOR)
    with pytest.raises(Forbidden):
        rollouts.start(DEPLOYMENT, served[0], by=AUTHOR)
    deployments.declare("other", "production", "another", by=SYSTEM)
    with pytest.raises(Invalid, match="serves another"):
        rollouts.start("other", served[0], by=OPERATOR)


def test_a_pause_holds_what_would_move_up_until_it_is_resumed(world: World, served: tuple[str, str]) -> None:
    rollout = begun(world, served[0], 5, 100)
    rollouts, conductor = world.platform.rollouts, world.conductor()
    rollouts.pause(rollout.id, "a holiday", by=OPERATOR)
    world.capture(served[0])
    world.clock.advance(10_000)
    conductor.step()
    assert shares(world)[1] == (served[0], 5)
    with pytest.raises(IllegalMove, match="resume it first"):
        rollouts.advance(rollout.id, 1, "on", by=OPERATOR)
    rollouts.resume(rollout.id, "back", by=OPERATOR)
    conductor.step()
    assert shares(world) == [(served[0], 100)]
    rollouts.roll_back(rollout.id, "on", by=OPERATOR)
    with pytest.raises(IllegalMove):
        rollouts.resume(rollout.id, "again", by=OPERATOR)
    with pytest.raises(IllegalMove, match="not paused"):
        rollouts.resume(rollouts.start(DEPLOYMENT, served[0], by=OPERATOR).id, "x", by=OPERATOR)


def test_a_paused_candidate_that_fails_still_goes_back(world: World, served: tuple[str, str]) -> None:
    rollout = begun(world, served[0], 5, 100)
    world.platform.rollouts.pause(rollout.id, "a look", by=OPERATOR)
    world.capture(served[0], errors=60)
    world.conductor().step()
    assert world.platform.rollouts.get(rollout.id).state is RolloutState.ROLLED_BACK
    assert shares(world) == [(served[1], 100)]


def test_pins_stand_in_the_table_with_their_releases_and_outlive_a_rollout(
    world: World, served: tuple[str, str]
) -> None:
    old, new = served
    deployments, rollouts = world.platform.deployments, world.platform.rollouts
    before = deployments.get(DEPLOYMENT).generation
    deployments.pin(DEPLOYMENT, old, "they asked", by=OPERATOR, keys=["acme"], prefixes=["beta-"])
    table = deployments.routing(DEPLOYMENT)
    assert [(route.release, route.percent) for route in table.routes] == [(new, 100), (old, 0)]
    assert table.generation == before + 1
    index = PinIndex(table.pins)
    assert [index.release(key) for key in ("acme", "beta-1", "other")] == [old, old, None]
    begun(world, old, 5, 100)
    rollouts.roll_back(rollouts.list(DEPLOYMENT).items[0].id, "no", by=OPERATOR)
    table = deployments.routing(DEPLOYMENT)
    assert [(route.release, route.percent) for route in table.routes] == [(new, 100), (old, 0)]
    change = deployments.served(DEPLOYMENT, world.clock.now())
    assert change is not None
    assert change.pins == table.pins


def test_pins_are_replaced_and_taken_away(world: World, served: tuple[str, str]) -> None:
    old, new = served
    deployments = world.platform.deployments
    deployments.pin(DEPLOYMENT, old, "a", by=OPERATOR, keys=["a", "b", "c"])
    deployments.pin(DEPLOYMENT, new, "b", by=OPERATOR, keys=["b"])
    pins = {pin.key: pin.release for pin in deployments.get(DEPLOYMENT).pins}
    assert pins == {"a": old, "b": new, "c": old}
    generation = deployments.get(DEPLOYMENT).generation
    assert deployments.pin(DEPLOYMENT, new, "b", by=OPERATOR, keys=["b"]).generation == generation
    assert len(deployments.unpin(DEPLOYMENT, "done", by=OPERATOR, keys=["a"]).pins) == 2
    with pytest.raises(NotFound, match="nobody"):
        deployments.unpin(DEPLOYMENT, "done", by=OPERATOR, prefixes=["b"])
    assert deployments.unpin(DEPLOYMENT, "done", by=OPERATOR).pins == ()
    assert len(deployments.routing(DEPLOYMENT).routes) == 1


def test_a_shadow_stands_beside_the_routes_until_it_is_ended(world: World, served: tuple[str, str]) -> None:
    old, new = served
    deployments = world.platform.deployments
    deployments.shadow(DEPLOYMENT, Shadow(release=old, percent=20), "a look", by=OPERATOR)
    table = deployments.routing(DEPLOYMENT)
    assert [route.release for route in table.routes] == [new]
    assert table.shadow is not None
    assert (table.shadow.route.release, table.shadow.percent) == (old, 20)
    assert deployments.unshadow(DEPLOYMENT, "seen", by=OPERATOR).shadow is None
    assert deployments.routing(DEPLOYMENT).shadow is None
    with pytest.raises(NotFound):
        deployments.unshadow(DEPLOYMENT, "seen", by=OPERATOR)
    for bad in (Shadow(release=old, percent=0), Shadow(release=old, tolerance=0.5)):
        with pytest.raises(Invalid):
            deployments.shadow(DEPLOYMENT, bad, "x", by=OPERATOR)
    with pytest.raises(Forbidden):
        deployments.shadow(DEPLOYMENT, Shadow(release=old), "x", by=AUTHOR)


def test_what_cannot_be_pinned(world: World, served: tuple[str, str]) -> None:
    deployments = world.platform.deployments
    for keys, error in (([], Invalid), ([""], Invalid), (["x" * 201], Invalid)):
        with pytest.raises(error):
            deployments.pin(DEPLOYMENT, served[0], "x", by=OPERATOR, keys=keys)
    with pytest.raises(QuotaExceeded):
        deployments.pin(DEPLOYMENT, served[0], "x", by=OPERATOR, keys=[str(number) for number in range(MOST_PINS + 1)])
    deployments.declare("idle", "production", "late", by=SYSTEM)
    with pytest.raises(Conflict, match="serves nothing"):
        deployments.pin("idle", served[0], "x", by=OPERATOR, keys=["a"])
    with pytest.raises(Forbidden):
        deployments.pin(DEPLOYMENT, served[0], "x", by=AUTHOR, keys=["a"])
