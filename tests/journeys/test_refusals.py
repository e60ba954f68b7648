"""The gate is seen to refuse, and what a run does wrong ends its change with the reason."""

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
        ("guess", "unproven", "better-than-baseline: not shown: better than guess: 0 "),
        ("inverted", "fail", "better-than-baseline: it is not so"),
    ],
)
def test_the_gate_refuses_and_says_why(
    served: World, prepared: Prepared, kind: str, outcome: str, reason: str
) -> None:
    before = served.owner.deployments.get(DEPLOYMENT)
    change = ended(served, model_version=prepared.models[kind])
    assert change.stage is Stage.REJECTED
    assert change.reason.startswith(f"the gate said {outcome}")
    assert reason in change.reason
    assert served.owner.gates.verdict(change.verdict).outcome == outcome
    assert (change.release, change.rollout) == ("", "")
    assert served.owner.deployments.get(DEPLOYMENT) == before


@pytest.mark.parametrize(
    ("pipeline", "params", "reason"),
    [
        ("train", {"kind": "broken"}, "the run failed: step 'fit' failed: ValueError: no model comes of this"),
        ("train", {"kind": "nothing"}, "the run registered no model version"),
        ("train", {"strengt": "1"}, "has no param 'strengt'; did you mean 'strength'?"),
        ("train", {"held_out_days": "some"}, "param 'held_out_days' takes int, and 'some' is none"),
        ("trian", {}, "headway.toml has no pipeline 'trian'"),
    ],
    ids=["raises", "registers nothing", "unknown param", "wrong type", "unknown pipeline"],
)
def test_a_run_that_cannot_be_ends_its_change(
    served: World, pipeline: str, params: dict[str, str], reason: str
) -> None:
    change = ended(served, pipeline=pipeline, params=params)
    assert change.stage is Stage.REJECTED
    assert reason in change.reason
    assert "Traceback" not in change.reason
