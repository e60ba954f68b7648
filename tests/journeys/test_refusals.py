"""The gate is seen to refuse, and says why; what served before keeps serving."""

from __future__ import annotations

import pytest

from headway.lifecycle.changes.records import Change, OpenChange, Stage
from tests.journeys.conftest import Prepared
from tests.journeys.world import DEPLOYMENT, World, until


def ended(world: World, **command: object) -> Change:
    number = world.author.changes.open(OpenChange(deployment=DEPLOYMENT, **command)).number  # type: ignore[arg-type]

    def look() -> Change | None:
        change = world.change(number)
        return change if change.over else None

    return until(look, f"change {number} ends")


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        ("leaky", "fail", "the model takes 'delay_minutes', which is a banned column"),
        ("guess", "fail", "better-than-baseline: it is not so: better than guess: +0 "),
        ("inverted", "fail", "better-than-baseline: it is not so"),
    ],
)
def test_the_gate_refuses_and_says_why(served: World, prepared: Prepared, kind: str, outcome: str, reason: str) -> None:
    before = served.owner.deployments.get(DEPLOYMENT)
    change = ended(served, model_version=prepared.models[kind])
    assert change.stage is Stage.REJECTED
    assert change.reason.startswith(f"the gate said {outcome}")
    assert reason in change.reason
    assert served.owner.gates.verdict(change.verdict).outcome == outcome
    assert (change.release, change.rollout) == ("", "")
    assert served.owner.deployments.get(DEPLOYMENT) == before
