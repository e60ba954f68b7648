"""Predicted classes are held against what was predicted on the held-out days, and against nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headway.engines.observer import Observer
from headway.kernel.access import SYSTEM
from headway.lifecycle.changes.records import Change
from headway.lifecycle.datasets.profile import Layout, LevelProfile, Profile
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.records import Finding, Judge, Outcome
from headway.lifecycle.models.records import AddVersion, Datatype, ModelVersion, Signature, Task, TensorSpec
from headway.lifecycle.monitors.classes import LABEL, class_layout
from headway.lifecycle.monitors.records import Watches, Window
from headway.lifecycle.runs.records import RunState
from tests.engines.world import DEPLOYMENT, GATEKEEPER, POLICY, WORKER, World, no_skew

CLASSES = ("bus", "car", "train")
SIGNATURE = Signature(
    inputs=(TensorSpec(name="far", datatype=Datatype.FP32, shape=(-1, 1)),),
    outputs=(TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 3)),),
    score="probabilities",
    classes=CLASSES,
)
HELD_OUT = {f"2025-12-{day + 1:02}": [100 + day % 5, 60 - day % 3, 40 + day % 4] for day in range(30)}


class Classified(World):
    """A world whose model tells classes apart; its gate has seen `HELD_OUT`."""

    def __init__(self) -> None:
        super().__init__()
        gate = (CheckSpec(check="accuracy"), CheckSpec(check="better-than-baseline"))
        self.platform.environments.declare("production", by=SYSTEM, gate=gate, approvals=1, rollout=POLICY)

    def work(self, run: str) -> ModelVersion:
        lease = self.platform.runs.claim(run, "a worker")
        self.platform.runs.move(run, RunState.RUNNING, by=WORKER, token=lease.token)
        command = AddVersion(
            model="late", blob=self.platform.blobs.put(b"a model"), signature=SIGNATURE, task=Task.MULTICLASS, run=run,
            training=(self.dataset("training"),), evaluation=self.dataset("held-out"),
        )  # fmt: skip
        version = self.platform.models.add(command, by=WORKER)
        self.platform.runs.move(run, RunState.FINISHED, by=WORKER, token=lease.token)
        return version

    def judge(self, change: Change, outcome: Outcome = Outcome.PASS) -> None:
        change = self.change(change)
        seen = Finding(outcome=outcome, reason="measured", numbers={"predicted": HELD_OUT})
        findings = {"accuracy": Finding(outcome=outcome, reason="measured"), "better-than-baseline": seen}
        judged = Judge(
            environment=change.environment, model_version=change.model_version, change=change.id, findings=findings,
            inputs={}, code="0",
        )  # fmt: skip
        self.platform.gates.judge(judged, by=GATEKEEPER)


def days(**counts: Sequence[int]) -> object:
    """How often each class was predicted on the days to come; quiet days else."""

    def profile_day(segments: Sequence[bytes], day: str, layout: Layout) -> Profile:
        assert layout == class_layout(CLASSES)
        found = counts.get(f"d{day.replace('-', '_')}", (101, 59, 41))
        column = LevelProfile(n=sum(found), nulls=0, counts=(*found, 0))
        return Profile(layout=layout.digest, rows=sum(found), columns={LABEL: column})

    return profile_day


def windows(world: World) -> list[Window]:
    return sorted(world.platform.monitors.windows("classes").items, key=lambda window: window.day)


@pytest.mark.parametrize("shares", [(10, 60, 130), (0, 0, 200)])
def test_classes_that_are_predicted_more_often_raise_an_alert(shares: tuple[int, ...]) -> None:
    world = Classified()
    world.settle(world.open())
    world.platform.monitors.declare(
        "classes", DEPLOYMENT, Watches.CLASSES, {"arl": 200.0, "min_rows": 50}, by=SYSTEM
    )  # fmt: skip
    moved = {f"d2026_01_0{day}": shares for day in range(3, 8)}
    release = world.platform.deployments.get(DEPLOYMENT).serving or ""
    for day in range(1, 9):
        world.capture(release, at=world.at_noon(day))
        Observer(world.platform, days(**moved), no_skew).step()  # type: ignore[arg-type]
    outcomes = [window.outcome for window in windows(world)]
    assert outcomes[:2] == [Outcome.PASS, Outcome.PASS]
    assert Outcome.FAIL in outcomes
    first = windows(world)[outcomes.index(Outcome.FAIL)]
    assert first.numbers["flagged"][0]["column"] == LABEL
    assert len(world.platform.monitors.unresolved()) == 1


def test_a_model_of_numbers_has_no_classes_to_watch(caplog: pytest.LogCaptureFixture) -> None:
    """And it is said once, however often it is looked at."""
    world = World()
    world.settle(world.open())
    world.platform.monitors.declare("classes", DEPLOYMENT, Watches.CLASSES, {}, by=SYSTEM)
    world.capture(world.platform.deployments.get(DEPLOYMENT).serving or "", at=world.at_noon(2))
    observer = Observer(world.platform, days(), no_skew)  # type: ignore[arg-type]
    for _ in range(3):
        observer.step()
    assert windows(world) == []
    assert len([each for each in caplog.messages if "no classes to watch" in each]) == 1
