"""`headway ci` with a graph inside a graph and a locked model in it, on trial and as what serves."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headway.kernel.access import Actor, Role
from headway.lifecycle.changes.apply import apply
from headway.lifecycle.changes.project import read_project
from headway.lifecycle.changes.records import OpenChange
from headway.lifecycle.gates.records import Finding, Judge, Outcome
from headway.server.app import compose
from headway.server.settings import Settings
from tests.server.world import RunningTarget, World, drive
from tests.serving.test_locks import wheel

ROOT = Path(__file__).parents[2]
SETTINGS = """
[project]
name = "rides"
[pipelines.parts]
entry = "pipeline:parts"
[pipelines.train]
entry = "pipeline:train"
[models.chained]
[environments.production]
gate = ["contract", { check = "far_scores_more", least = 0.1 }]
[deployments.rides]
environment = "production"
model = "chained"
[ci]
pipelines = ["train"]
"""
PIPELINE = '''
from pathlib import Path
import headway as hw
import numpy as np
import polars as pl
from headway.lifecycle.models.records import Datatype, Signature, TensorSpec
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).parent
TENSOR = TensorSpec(name="far", datatype=Datatype.FP64, shape=(-1, 1))
SIGNATURE = Signature(inputs=(TENSOR,), outputs=(TENSOR,), score="far")
CONTRACT = hw.Contract(columns=(
    hw.ColumnRule(name="far", kind=hw.Kind.FLOAT, low=-100, high=100),
    hw.ColumnRule(name="y", kind=hw.Kind.INT, use=hw.Use.LABEL, low=0, high=1),
))

def rows(seed: int) -> pl.DataFrame:
    far = np.random.default_rng(seed).normal(size=200)
    return pl.DataFrame({"far": far, "y": (far > 0).astype(np.int64)})

@hw.step(cache=False)
def log_parts() -> int:
    for name, seed in (("rides", 1), ("held-out", 2)):
        hw.add_dataset(name, rows(seed), contract=CONTRACT)
    told = {"training": ["rides"], "evaluation": "held-out"}
    hw.log_model("pre", HERE / "pre", task="regression", signature=SIGNATURE, requirements=HERE / "lock.txt", **told)
    frame = rows(1)
    hw.log_model("plain", LogisticRegression().fit(frame.select("far"), frame["y"].to_numpy()), **told)
    return 2

@hw.step(cache=False)
def chain(weight: int) -> int:
    hw.log_graph("inner", hw.Graph.chain("pre", "plain"), evaluation="held-out")
    hw.log_graph("chained", hw.Graph.mean("inner", "plain", weights=(weight, 1)), evaluation="held-out")
    return weight

@hw.pipeline
def parts() -> int:
    return log_parts()

@hw.pipeline
def train(weight: int = 1) -> int:
    return chain(weight)

@hw.check
def far_scores_more(subject: hw.Subject, least: float = 0.1) -> bool:
    """What is far scores higher, on average."""
    far = subject.frame["far"].to_numpy() > 0
    return subject.scores[far].mean() - subject.scores[~far].mean() > least
'''
PRE = """
import tiny

def predict(inputs):
    return {"far": inputs["far"] * tiny.FACTOR}
"""


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "GITHUB_"))}
        self.env |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(ROOT)}
        (folder / "pre").mkdir(parents=True)
        (folder / "wheels").mkdir()
        lock = f"tiny==1.0\nnumpy=={np.__version__}\n"
        files = {"headway.toml": SETTINGS, "pipeline.py": PIPELINE, "pre/model.py": PRE, "lock.txt": lock}
        for name, text in files.items():
            (folder / name).write_text(text)

    def headway(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "headway.cli", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=300, check=False
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def _packages(folder: Path) -> None:
    """`tiny`, which only the locked environment has, and a `numpy` that stands for this interpreter's."""
    wheel(folder, "tiny", "1.0", "FACTOR = 2.5\n")
    real = Path(np.__file__).parents[1]
    source = f"import sys\nsys.path.insert(0, {str(real)!r})\ndel sys.modules['numpy']\nimport numpy\n"
    wheel(folder, "numpy", np.__version__, source)


def _have_it_serve(home: Path) -> None:
    target = RunningTarget()
    application = replace(compose(Settings(home=home)), target=target)
    platform, owner = application.platform, Actor(name="owner", role=Role.OWNER)
    apply(read_project(SETTINGS), platform, clock=application.clock, ids=application.ids, by=owner)
    world = World(application, None, target, {})  # type: ignore[arg-type]
    change = drive(world, platform.changes.open(OpenChange(deployment="rides", model_version="chained@1"), by=owner).id)
    found = {check: Finding(outcome=Outcome.PASS, reason="measured") for check in ("contract", "far_scores_more")}
    judge = Judge(environment="production", model_version=change.model_version, findings=found, change=change.id)
    platform.gates.judge(judge, by=Actor(name="gatekeeper", role=Role.GATEKEEPER))
    change = drive(world, change.id)
    platform.rollouts.advance(change.rollout, 0, "begin", by=owner)
    application.close()


@pytest.mark.slow
def test_a_graph_with_a_locked_model_stands_against_one_that_serves(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    _packages(checkout.folder / "wheels")
    checkout.headway("run", "parts")
    checkout.headway("model", "trust", "pre@1", "--why", "it was read")
    assert "headway model prepare pre@1" in checkout.headway("run", "train", code=2)
    checkout.headway("model", "prepare", "pre@1", "--wheels", "wheels")
    checkout.headway("run", "train")
    assert "pre@1 runs in" in checkout.headway("model", "prepare", "chained@1")
    _have_it_serve(checkout.folder / ".headway")
    said = checkout.headway("ci")
    assert "### chained for rides: ✅ pass" in said
    assert "Gate of production; chained@1 serves now." in said
    assert "| far_scores_more | ✅ pass | holds: What is far scores higher, on average. |" in said
    assert "| better-than-champion (not demanded) | " in said
    environment = next((checkout.folder / ".headway" / "environments").iterdir())
    environment.rename(tmp_path / "elsewhere")
    assert "headway model prepare pre@1" in checkout.headway("ci", code=1)
