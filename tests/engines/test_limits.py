"""Limits of a deployment on their way to its servers."""

from __future__ import annotations

from headway.kernel.access import SYSTEM
from headway.lifecycle.rollouts.limits import Limits
from tests.engines.world import DEPLOYMENT, World


def test_new_limits_are_a_new_generation_of_the_table() -> None:
    world = World()
    platform = world.platform

    def declare(limits: Limits) -> int:
        platform.deployments.declare(DEPLOYMENT, "production", "late", by=SYSTEM, limits=limits)
        assert platform.deployments.routing(DEPLOYMENT).limits == limits
        return platform.deployments.get(DEPLOYMENT).generation

    assert declare(Limits(requests_per_s=3)) == 0
    world.settle(world.open())
    before = platform.deployments.get(DEPLOYMENT).generation
    assert declare(Limits(requests_per_s=3)) == before
    assert declare(Limits(requests_per_s=4)) == before + 1
    assert declare(Limits(requests_per_s=4)) == before + 1
