"""The same pipeline on a Ray cluster of two nodes, one of which is killed: the same keys, the same results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from headway.lifecycle.runs.records import StepState
from headway.running.tuning import STUDY
from tests.journeys.world import World

PROJECT = Path(__file__).parent / "project"
ROOT = Path(__file__).parents[2]
_KEPT = Path(tempfile.gettempdir()) / f"headway-test-environments-{os.getuid()}"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment with Headway, Ray and Optuna, built once and kept."""
    folder = _KEPT / f"ray-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        _KEPT.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
        install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*install, "--editable", f"{ROOT}[ray,tune]"], check=True, timeout=1800)
        (folder / "ready").touch()
    return python


def test_two_nodes_of_which_one_is_killed(python: Path, tmp_path: Path) -> None:
    world = World(tmp_path, project=PROJECT, deployment="none")
    try:
        world.start()
        env = world.env | {"HEADWAY_URL": world.url, "HEADWAY_HOME": str(world.home), "PYTHONPATH": str(ROOT)}
        command = [str(python), str(Path(__file__).with_name("story.py")), str(world.project)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        client = world.owner

        steps = client.runs.steps(told["run"])
        assert [step.step for step in steps][:3] == ["load", "count", "count-2"]
        assert {step.state for step in steps} == {StepState.DONE}
        nodes = {each[2] for each in told["begun"]}
        assert nodes == set(told["nodes"])
        assert len({each[1] for each in told["ended"]}) == 12
        assert len(told["begun"]) <= 12 + 2  # what ran on the node that was killed, and nothing else
        assert client.runs.metrics([told["run"]])[told["run"]]["counted"] == 256 * 4000
        assert "loads 4000" in "".join(part.text for part in client.runs.logs(told["run"], step="load"))

        again = _in_process(python, world, "steps=12", "pause_s=1.0", f"notes={world.folder / 'notes'}")
        assert {step.state for step in client.runs.steps(again)} == {StepState.CACHED}
        assert [step.key for step in client.runs.steps(again)] == [step.key for step in steps]

        best = told["search"]["best"]
        assert [trial["state"] for trial in told["search"]["trials"]] == ["finished"] * 4
        assert best["value"] == min(trial["value"] for trial in told["search"]["trials"])
        assert STUDY in [artifact.name for artifact in client.runs.artifacts(best["run"])]
    finally:
        world.close()


def _in_process(python: Path, world: World, *params: str) -> str:
    """In the same environment: where no Ray is installed, steps that import it have other keys."""
    command = [str(python), "-m", "headway.cli", "--json", "run", "counting", "--in-process"]
    given = [text for param in params for text in ("-p", param)]
    env = world.env | {"HEADWAY_URL": world.url, "HEADWAY_HOME": str(world.home)}
    done = subprocess.run([*command, *given], cwd=world.project, env=env, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["run"]["id"])
