"""`headway ci` on real repositories, each in a process of its own as a runner has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from headway.kernel.access import Actor, Role
from headway.lifecycle.changes.apply import apply
from headway.lifecycle.changes.project import read_project
from headway.lifecycle.changes.records import OpenChange
from headway.lifecycle.gates.records import Finding, Judge, Outcome
from headway.server.app import compose
from headway.server.settings import Settings
from tests.crashes.model import sigmoid
from tests.server.serving import served
from tests.server.world import RunningTarget, World, drive

ROOT = Path(__file__).parents[2]
SETTINGS = """
[project]
name = "ones"
[pipelines.train]
entry = "pipeline:train"
[pipelines.count]
entry = "counting:count"
[datasets.rows]
[models.ones]
[environments.production]
gate = ["contract", { check = "some_scores", most = 1.0 }]
[deployments.ones]
environment = "production"
model = "ones"
[ci]
datasets = ["rows"]
sample_rows = 10
"""
PIPELINE = '''
from pathlib import Path
import headway as hw
from headway.lifecycle.models.records import AddVersion, Datatype, Signature, Task, TensorSpec

HERE = Path(__file__).parent
TENSOR = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1))
SIGNATURE = Signature(inputs=(TENSOR,), outputs=(TENSOR.but(name="probabilities"),), score="probabilities")
CONTRACT = hw.Contract(columns=(
    hw.ColumnRule(name="x", kind=hw.Kind.FLOAT, low=-100, high=100),
    hw.ColumnRule(name="y", kind=hw.Kind.INT, use=hw.Use.LABEL, low=0, high=1),
))

def shift() -> float:
    return 1.0

@hw.step
def rows(first: int) -> dict:
    """What is learnt."""
    return {"x": [float(first + row) / 100 + shift() for row in range(50)], "y": [row % 2 for row in range(50)]}

@hw.step(cache=False)
def register(learnt: dict, held_out: dict) -> int:
    run = hw.active_run()
    training = hw.add_dataset("learnt", learnt, contract=CONTRACT)
    held = hw.add_dataset("held-out", held_out, contract=CONTRACT)
    hw.add_dataset("rows", learnt, contract=CONTRACT)
    run.client.models.add(AddVersion(
        model="ones", blob=run.client.blobs.put((HERE / "model.onnx").read_bytes()), signature=SIGNATURE,
        task=Task.BINARY, run=run.id, training=(training.id,), evaluation=held.id, metrics={"rows": 50.0},
    ))
    return 50

@hw.pipeline
def train(first: int = 0) -> int:
    return register(rows(first), rows(first + 50))

@hw.check
def some_scores(subject: hw.Subject, most: float = 1.0) -> bool:
    """No score is higher."""
    return subject.scores.max() <= most
'''
COUNTING = """
import headway as hw

@hw.step
def height(of: int) -> int:
    return hw.read_dataset("rows").height if of else 0

@hw.pipeline
def count(of: int = 0) -> int:
    return height(of)
"""


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "GITHUB_"))}
        self.env |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.write(
            {"headway.toml": SETTINGS, "pipeline.py": PIPELINE, "counting.py": COUNTING, ".gitignore": ".headway"}
        )
        (folder / "model.onnx").write_bytes(sigmoid())
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def edit(self, name: str, before: str, after: str) -> None:
        text = (self.folder / name).read_text()
        assert before in text
        (self.folder / name).write_text(text.replace(before, after))

    def git(self, *arguments: str) -> str:
        named = ("-c", "user.name=ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *named, *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "more")
        return self.git("rev-parse", "HEAD")

    def headway(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headway.cli", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.env | env, capture_output=True, text=True, timeout=300, check=False
        )  # fmt: skip

    def ci(self, *arguments: str, code: int = 0, **env: str) -> str:
        done = self.headway("ci", *arguments, **env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "project"
    folder.mkdir()
    return Repository(folder)


@pytest.mark.slow
def test_a_project_is_tested_whole_and_the_same_is_said_of_the_same(repository: Repository, tmp_path: Path) -> None:
    report, summary = tmp_path / "report.md", tmp_path / "summary.md"
    summary.write_text("before\n")
    said = repository.ci("--report", str(report), GITHUB_STEP_SUMMARY=str(summary))
    assert report.read_text() == said
    assert summary.read_text() == "before\n" + said
    assert "| train | all data | register done<br>rows done<br>rows-2 done | ✅ pass |" in said
    assert "- contract `pipeline.CONTRACT`: 2 columns" in said
    assert "### ones for ones: ✅ pass" in said
    assert "| some_scores | ✅ pass | holds: No score is higher. |" in said
    assert "rows has no version to take a sample of: train was run on all data only" in said
    again = repository.ci()
    assert "| train | samples | register done<br>rows done<br>rows-2 done | ✅ pass |" in again
    assert "register done<br>rows cached<br>rows-2 cached" in again
    assert repository.ci() == again
    told = json.loads(repository.ci("--json"))
    assert (told["exit_code"], told["report"]["judged"][0]["metrics"]) == (0, {"rows": 50.0})
    assert told["report"]["notes"] == []


@pytest.mark.slow
def test_only_what_has_changed_is_run(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.edit("pipeline.py", '"""What is learnt."""', '"""What will be learnt."""  # a comment')
    repository.commit()
    assert "No pipeline: nothing was run." in repository.ci("--base", first)
    repository.edit("pipeline.py", "return 1.0", "return 2.0")
    said = repository.ci("--base", first)
    assert f"### Changed since `{first[:12]}`\n\n- `train`: `pipeline:rows`\n\n" in said
    assert "| train | all data |" in said
    assert "count" not in said.partition("### Runs")[2]
    repository.edit("counting.py", "if of else 0", "if of else 1")
    repository.edit("headway.toml", 'entry = "pipeline:train"', 'entry = "pipeline:train"\nparams = { first = "1" }')
    changes = repository.ci("--base", first, "--check-only")
    assert "- `count`: `counting:height`, `pipeline:rows`" in changes
    assert "- `train`: `counting:height`, `pipeline:rows`" in changes
    assert "no commit 'nowhere'" in repository.ci("--base", "nowhere", code=2)
    assert "### Changed" not in repository.ci("--base", "0" * 40, "--check-only")


@pytest.mark.slow
def test_a_step_that_fails_on_samples_is_not_run_on_all_data(repository: Repository) -> None:
    repository.ci()
    repository.edit("headway.toml", "sample_rows = 10", 'sample_rows = 10\n[ci.params.count]\nof = "1"')
    repository.edit("counting.py", "return hw", 'raise ValueError("only <b>10</b> | rows")\n    return hw')
    said = repository.ci(code=1)
    assert "❌ a rule says no" in said
    assert "| count | samples | height failed |" in said
    assert "only &lt;b>10&lt;/b> \\| rows" in said
    assert "| count | all data" not in said
    repository.edit("counting.py", 'raise ValueError("only <b>10</b> | rows")', 'print(hw.read_dataset("rows").height)')
    assert "10\n" in repository.ci()


def test_a_gate_that_does_not_pass_fails_it(repository: Repository) -> None:
    repository.edit("headway.toml", "most = 1.0", "most = 0.1")
    said = repository.ci(code=1)
    assert "- ones for ones: the gate of production says fail" in said
    assert "| some_scores | ❌ fail | does not hold: No score is higher. |" in said


MISTAKES = [
    ("headway.toml", 'model = "ones"', 'model = "one"', "there is no model 'one'; did you mean 'ones'?"),
    ("headway.toml", "[ci]", "[ci", "headway.toml cannot be read"),
    ("headway.toml", '"some_scores"', '"some_score"', "there is no check 'some_score'; did you mean 'some_scores'?"),
    ("headway.toml", "pipeline:train", "pipeline:trian", "has no pipeline 'trian'"),
    ("headway.toml", 'datasets = ["rows"]', 'datasets = ["row"]', "there is no dataset 'row'"),
    ("headway.toml", "sample_rows = 10", "sample_rows = 10\n[ci.params.train]\nfist = 1", "has no param 'fist'"),
    ("counting.py", "import headway", "import headwya", "No module named 'headwya'"),
    ("pipeline.py", "low=-100, high=100", "low=100, high=-100", "no number is from 100 to -100"),
    ("pipeline.py", 'name="y", kind', 'name="x", kind', "column 'x' has two rules"),
]


def test_mistakes_are_gathered(repository: Repository) -> None:
    for file, before, after, told in MISTAKES:
        repository.edit(file, before, after)
        said = repository.ci("--check-only", code=2)
        assert told in said, (file, after)
        repository.edit(file, after, before)
    repository.edit("pipeline.py", "low=-100, high=100", "low=100, high=-100")
    repository.edit("counting.py", "import headway", "import headwya")
    both = repository.ci(code=2)
    assert "no number is from" in both
    assert "headwya" in both
    assert not (repository.folder / ".headway").exists()


@pytest.mark.slow
def test_a_change_is_opened_for_a_commit_of_the_repository(repository: Repository) -> None:
    repository.headway("project", "apply").check_returncode()
    opened = repository.headway("change", "open", "--commit", "HEAD", "--to", "ones", "--pipeline", "train", "--json")
    change = json.loads(opened.stdout)
    assert change["commit"] == repository.git("rev-parse", "HEAD")
    assert change["committed_at"] is not None
    again = repository.headway("change", "open", "--commit", "main", "--to", "ones", "--pipeline", "train", "--json")
    assert json.loads(again.stdout) == change
    wrong = repository.headway("change", "open", "--commit", "nowhere", "--to", "ones", "--pipeline", "train")
    assert (wrong.returncode, "git knows no commit" in wrong.stderr) == (2, True)
    shutil.rmtree(repository.folder / ".git")
    gone = repository.headway("change", "open", "--commit", "HEAD", "--to", "ones", "--pipeline", "train")
    assert gone.returncode == 2


@pytest.mark.slow
def test_with_a_server_it_reads_and_writes_nothing_there(repository: Repository, tmp_path: Path) -> None:
    repository.ci()
    home = tmp_path / "server"
    shutil.move(repository.folder / ".headway", home)
    token = _serving_ones(home)
    with served(home) as client:
        before = client.get("/v1/ledger?limit=1000").json()
        env = {"HEADWAY_URL": str(client.base_url), "HEADWAY_TOKEN": token}
        said = repository.ci(**env)
        assert client.get("/v1/ledger?limit=1000").json() == before
    assert "| train | samples | register done<br>rows done<br>rows-2 done | ✅ pass |" in said
    assert "| train | all data | register done<br>rows cached<br>rows-2 cached | ✅ pass |" in said
    assert "Gate of production; ones@1 serves now." in said
    assert "| better-than-champion (not demanded) | " in said
    assert token not in said


def _serving_ones(home: Path) -> str:
    """Have the model version of a home serve, and give the secret of somebody who may only read."""
    target = RunningTarget()
    application = replace(compose(Settings(home=home)), target=target)
    platform, owner = application.platform, Actor(name="owner", role=Role.OWNER)
    apply(read_project(SETTINGS), platform, clock=application.clock, ids=application.ids, by=owner)
    gatekeeper = Actor(name="gatekeeper", role=Role.GATEKEEPER)
    world = World(application, None, target, {})  # type: ignore[arg-type]
    change = drive(world, platform.changes.open(OpenChange(deployment="ones", model_version="ones@1"), by=owner).id)
    found = {check: Finding(outcome=Outcome.PASS, reason="measured") for check in ("contract", "some_scores")}
    judge = Judge(environment="production", model_version=change.model_version, findings=found, change=change.id)
    platform.gates.judge(judge, by=gatekeeper)
    change = drive(world, change.id)
    platform.rollouts.advance(change.rollout, 0, "begin", by=owner)
    secret = platform.access.grant("ci", Role.READER, by=owner)[1]
    application.close()
    return secret
