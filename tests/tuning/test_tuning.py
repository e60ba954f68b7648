"""Searches: trials are runs, chosen and pruned by Optuna, and all that is kept of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headway as hw
from headway.engines.pipelines.project import load_pipeline
from headway.kernel.records import encode
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.records import RunState, StepState
from headway.lifecycle.runs.search_space import Choice, Scale, parsed_space, read_space
from headway.running import tuning
from headway.running.exporter import OnnxExporter
from headway.running.tuning import SEARCH, STUDY, Study
from headway.sdk import open_client
from tests.journeys.world import until

PROJECT = Path(__file__).parent / "project"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def client(project: Path) -> Iterator[hw.Client]:
    client = hw.connect(home=project / ".headway")
    yield client
    client.close()


def pipeline(project: Path, name: str = "train") -> Pipeline:
    return load_pipeline(project, f"pipe:{name}")


def test_the_best_is_found_and_kept(project: Path, client: hw.Client) -> None:
    study = hw.tune(
        pipeline(project), {"depth": (2, 8), "kind": ["good", "bad"]}, metric="loss", params={"rate": 0.25},
        trials=12, executor="in-process", workers=1, sampler="random", pruner="none", seed=3,
    )  # fmt: skip
    assert len(study.trials) == 12
    assert {trial.state for trial in study.trials} == {"finished"}
    assert study.best is not None
    assert study.best.value == min(trial.value for trial in study.trials if trial.value is not None)
    for trial in study.trials:
        run = client.runs.get(trial.run)
        assert (run.parent, run.state, run.params["rate"]) == (study.run, RunState.FINISHED, "0.25")
        assert run.params["depth"] == str(trial.params["depth"])
        expected = abs(trial.params["depth"] - 4) + (0 if trial.params["kind"] == "good" else 10) + 0.25
        assert trial.value == expected  # also of those that came from the cache, being chosen twice
    assert (project / "notes").read_text().count("load") == 1  # all trials share what does not depend on them
    for owner in (study.run, study.best.run):
        kept = {each.name: each.blob for each in client.runs.artifacts(owner)}
        assert msgspec.json.decode(client.blobs.get(kept[STUDY]), type=Study) == study
    assert study.run in [edge.parent for edge in client.lineage.of(study.best.run).up]


def test_the_same_seed_makes_the_same_choices(project: Path, client: hw.Client) -> None:
    chosen = []
    for _ in range(2):
        study = hw.tune(
            pipeline(project), {"depth": (1, 90), "rate": (0.001, 1.0, "log")}, metric="loss", trials=4,
            executor="in-process", workers=1, seed=7,
        )  # fmt: skip
        chosen.append([trial.params for trial in study.trials])
    assert chosen[0] == chosen[1]


def test_trials_that_fail_are_told_and_the_others_go_on(project: Path, client: hw.Client) -> None:
    study = hw.tune(
        pipeline(project, "picky"), {"depth": [1, 2]}, metric="loss", maximize=True, trials=6, executor="in-process",
        workers=1, sampler="random", seed=0,
    )  # fmt: skip
    states = {trial.params["depth"]: trial.state for trial in study.trials}
    assert states == {1: "failed", 2: "finished"}
    assert study.best is not None
    assert study.best.params == {"depth": 2}


def test_what_cannot_be_searched(project: Path, client: hw.Client) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {}, "nothing to search"),
        ({"depth": (3, 1)}, {}, "the lower one first"),
        ({"depth": "1..3"}, {}, "depth may be"),
        ({"depth": (0, 1, "log")}, {}, "begins above 0"),
        ({"deep": (1, 3)}, {}, "cannot be called so"),
        ({"depth": (1, 3)}, {"params": {"depth": 2}}, "leave out one of the two"),
        ({"depth": (1, 3)}, {"sampler": "best"}, "sampler is one of"),
        ({"depth": (1, 3)}, {"trials": 0}, "at least one trial"),
        ({"depth": (1, 3)}, {"executor": "moon"}, "executor is one of"),
        ({"depth": (1, 3)}, {"address": "x"}, "for the executor ray alone"),
    ]
    for space, settings, said in cases:
        with pytest.raises(hw.Invalid, match=said):
            hw.tune(pipeline(project), space, metric="loss", **settings)
    assert client.runs.list().items == ()
    with pytest.raises(hw.Invalid, match="needs --address"):
        hw.tune(pipeline(project), {"depth": (1, 3)}, metric="loss", executor="ray")
    assert [run.state for run in client.runs.list().items] == [RunState.FAILED]


@given(low=st.integers(-99, 99), more=st.integers(1, 99), real=st.floats(0.001, 9), wide=st.floats(0.001, 9))
def test_a_space_as_it_is_typed(low: int, more: int, real: float, wide: float) -> None:
    high = low + more
    texts = {"a": f"{low}..{high}", "b": f"{real!r}..{real + wide!r} log", "c": "x|1|2.5|true"}
    assert parsed_space(texts) == {
        "a": Scale(low=low, high=high, whole=True), "b": Scale(low=real, high=real + wide, log=True),
        "c": Choice(values=("x", 1, 2.5, True)),
    }  # fmt: skip
    assert read_space({"a": (low, high), "b": (real, real + wide, "log")}) == {
        key: value for key, value in parsed_space(texts).items() if key != "c"
    }


def test_a_trial_that_ends_before_it_is_pruned_counts_as_finished(client: hw.Client) -> None:
    search = tuning.Search(
        space=read_space({"x": (0.0, 1.0)}), metric="loss", trials=5, sampler="random", pruner="median", seed=1
    )
    with client.start_run("search", OnnxExporter(client), tags={SEARCH: encode(search).decode()}) as parent:
        looked: dict[str, threading.Event] = {}
        pruned: list[bool] = []

        def start(number: int, chosen: dict[str, Any]) -> tuple[str, Callable[[], None]]:
            run = client.start_run(
                "search", OnnxExporter(client), parent=parent.id, tags=tuning.trial_tags(number, chosen)
            )
            looked[run.id] = threading.Event()

            def carry_out() -> None:  # each is looked at when its run is over and its thread is not
                with run:
                    run.log_metric("loss", float(number), step=1)
                assert looked[run.id].wait(60)

            return run.id, carry_out

        class Looking(tuning.Tuner):
            def _look(self, running: Any) -> None:
                if client.runs.get(running.run).over:
                    super()._look(running)
                    pruned.append(running.pruned)
                    looked[running.run].set()

        study = Looking(client, parent.record, search, 1, start).run()
    assert pruned == [False] * 4 + [True]  # the worst, as soon as there is something to compare it with
    assert [trial.state for trial in study.trials] == ["finished"] * 5


class Search:
    """`headway tune`, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def headway(self, *arguments: str) -> subprocess.Popen[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("HEADWAY_")}
        return subprocess.Popen(
            [sys.executable, "-m", "headway.cli", "--json", *arguments], cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=env | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def notes(self) -> list[str]:
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def left(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found


@pytest.mark.slow
def test_a_search_that_is_killed_is_gone_on_with_and_bad_trials_are_pruned(project: Path) -> None:
    """By two workers, with real metrics on their way through a server-less home."""
    search = Search(project)
    options = ["-s", "kind=good|bad", "-s", "depth=3..5", "-p", "epochs=40", "-p", "pause_s=0.2", "--metric", "loss"]
    process = search.headway("tune", "train", *options, "--trials", "14", "--workers", "2", "--seed", "5")
    with open_client(home=project / ".headway") as client:

        def trials(state: RunState) -> list[str]:
            return [run.id for run in client.runs.list(limit=100).items if run.parent and run.state is state]

        until(lambda: len(trials(RunState.FINISHED)) >= 2 and len(trials(RunState.RUNNING)) == 2, "some are over", 180)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        until(lambda: not search.left(), "nothing of it is left")
        over, cut = trials(RunState.FINISHED), trials(RunState.RUNNING)
        [parent] = [run for run in client.runs.list(limit=100).items if SEARCH in run.tags]

        again = search.headway("run", "resume", parent.id, "--workers", "2")
        said, complained = again.communicate(timeout=560)
        assert again.returncode == 0, complained
        study = json.loads(said)
        assert [trial["number"] for trial in study["trials"]] == list(range(14))
        runs = {trial["run"] for trial in study["trials"]}
        assert runs >= set(over)
        assert runs.isdisjoint(cut)
        states = [trial["state"] for trial in study["trials"]]
        assert set(states) <= {"finished", "pruned"}
        assert study["best"]["params"]["kind"] == "good"
        for trial in study["trials"]:
            if trial["state"] == "pruned":
                run = client.runs.get(trial["run"])
                assert run.state is RunState.CANCELLED
                assert run.tags["headway.pruned"].isdigit()
                assert any(step.state is StepState.CANCELLED for step in client.runs.steps(run.id))
        assert "pruned" in states, states
        assert client.runs.get(parent.id).state is RunState.FINISHED
