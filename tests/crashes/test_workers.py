"""`kill -9` of what works for the control plane: another takes over where it was, and what comes late is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headway.lifecycle.changes.records import OpenChange, Stage
from headway.lifecycle.runs.records import RunState
from tests.crashes.agreement import model_servers, one_truth, opened, settled, shares, workers
from tests.crashes.clients import Clients
from tests.journeys.world import World, until


def another(world: World, kind: str, before: int = 0) -> int:
    """The worker of a kind, once it is another one than `before`."""
    return until(lambda: next((pid for pid in workers(world, of=kind) if pid != before), 0), "there is a worker", 20)


def test_workers_that_are_killed_are_followed_by_others(world: World) -> None:
    held_run, held_gate = world.project / "hold-run", world.project / "hold-gate"
    held_run.touch()
    held_gate.touch()
    number = opened(world)
    until((world.project / "hold-run.reached").exists, "the step runs")
    run = world.change(number).run
    until(
        lambda: [step.step for step in world.owner.runs.steps(run) if step.state == "running"] == ["wait"], "it is told"
    )
    first = another(world, "run")
    os.kill(first, signal.SIGKILL)
    another(world, "run", first)
    held_run.unlink()

    until((world.project / "hold-gate.reached").exists, "the gate measures")
    first = another(world, "gate")
    os.kill(first, signal.SIGKILL)
    another(world, "gate", first)
    held_gate.unlink()
    world.reached(number, Stage.JUDGED)
    world.approver.changes.approve(str(number), "it may")
    with Clients(world):
        assert settled(world, number).stage is Stage.SETTLED
    assert workers(world) == []


def test_a_gate_that_always_dies_ends_the_change_and_says_where_to_look(world: World) -> None:
    (world.project / "hold-gate").touch()
    number = opened(world)
    before = 0
    for _ in range(3):
        before = another(world, "gate", before)
        until((world.project / "hold-gate.reached").exists, "the gate measures")
        (world.project / "hold-gate.reached").unlink()
        os.kill(before, signal.SIGKILL)
    change = settled(world, number)
    assert change.stage is Stage.REJECTED
    assert change.reason.startswith("the gate's worker ended 3 times without measuring it")
    assert (world.home / "workers" / f"gate-{change.id}.log").exists()


def test_a_model_server_that_is_killed_under_traffic_comes_back_where_it_was(world: World) -> None:
    number = opened(world)
    world.reached(number, Stage.JUDGED)
    world.approver.changes.approve(str(number), "it may")
    release = world.reached(number, Stage.ROLLING_OUT).release
    url = world.owner.deployments.endpoint(world.deployment).url
    (before,) = model_servers(world)
    with Clients(world) as clients:
        until(lambda: 10 in shares(world, release), "it has traffic")
        until(lambda: clients.asked > 20, "clients are answered")
        os.kill(before, signal.SIGKILL)
        gone = len(clients.failures)
        until(lambda: model_servers(world) not in ([], [before]), "another server runs", 20)
        until(world.ready, "it answers", 20)
        down = len(clients.failures)
        change = settled(world, number)
    assert world.owner.deployments.endpoint(world.deployment).url == url
    assert change.stage is Stage.SETTLED
    assert down > gone
    assert len(clients.failures) <= down + 1, clients.failures[down:]
    one_truth(world)


def test_a_cancelled_change_leaves_nothing_running(world: World) -> None:
    (world.project / "hold-run").touch()
    number = opened(world)
    reached = world.project / "hold-run.reached"
    until(lambda: reached.exists() and reached.read_text(), "the step runs")
    child = int(reached.read_text())
    world.owner.changes.cancel(str(number), "not today")
    change = settled(world, number)
    assert (change.stage, change.reason) == (Stage.REJECTED, "cancelled by owner: not today")
    assert world.owner.runs.get(change.run).state is RunState.CANCELLED
    until(lambda: not workers(world), "its worker ends", 30)
    until(lambda: child not in world.processes(), "what its step had started ends", 30)


def test_what_a_step_has_started_ends_with_the_control_plane(world: World) -> None:
    (world.project / "hold-run").touch()
    opened(world)
    reached = world.project / "hold-run.reached"
    until(lambda: reached.exists() and reached.read_text(), "the step runs")
    child = int(reached.read_text())
    world.kill()
    until(
        lambda: set(world.processes()) == set(model_servers(world)), f"nothing is left of the run, nor of {child}", 30
    )
    (world.project / "hold-run").unlink()
    world.start()


def test_a_worker_that_finds_its_parent_gone_at_its_start_ends(world: World, tmp_path: Path) -> None:
    """The parent dies while the worker is still being imported: it never sees it alive."""
    number = opened(world, kind="nothing")
    run = until(lambda: world.change(number).run, "the change has a run")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    env = world.env | {
        "HEADWAY_URL": world.url, "HEADWAY_TOKEN": (world.home / "tokens" / "worker").read_text(),
        "HEADWAY_PARENT": str(gone.pid),
    }  # fmt: skip
    command = [sys.executable, "-m", "headway.cli.workers", "run", run]
    worker = subprocess.Popen(command, cwd=tmp_path, env=env, start_new_session=True, stderr=subprocess.DEVNULL)
    assert worker.wait(60) == -signal.SIGKILL
    settled(world, number)


def test_two_control_planes_cannot_run_on_one_home(world: World) -> None:
    second = world.up()
    assert second.wait(60) == 2
    said = world.log()
    assert f"a server runs on {world.home} already at {world.url} (pid {world.process.pid})" in said  # type: ignore[union-attr]
    assert "Traceback" not in said
    assert world.ready()


@pytest.mark.parametrize(
    ("pipeline", "params", "reason"),
    [
        ("train", {"kind": "raises"}, "the run failed: step 'begin' failed: ValueError: no model comes of this"),
        ("train", {"kind": "nothing"}, "the run registered no model version"),
        ("train", {"nmae": "x"}, "has no param 'nmae'; did you mean 'name'?"),
        ("train", {"held": "x"}, "has no param 'held' (kind, name)"),
        ("trian", {}, "headway.toml has no pipeline 'trian'; it has: train"),
    ],
    ids=["raises", "registers nothing", "misspelt param", "unknown param", "unknown pipeline"],
)
def test_a_run_that_cannot_be_ends_its_change(world: World, pipeline: str, params: dict[str, str], reason: str) -> None:
    """Tried once, not three times: what the project does wrong it does wrong again."""
    command = OpenChange(deployment=world.deployment, pipeline=pipeline, params=params)
    change = settled(world, world.author.changes.open(command).number)
    assert change.stage is Stage.REJECTED
    assert reason in change.reason
    assert "Traceback" not in change.reason
