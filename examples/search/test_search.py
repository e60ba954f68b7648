"""The example: workers search side by side, and the best model version leads to the study."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import headway as hw
from headway.engines.pipelines.project import load_pipeline
from headway.running.tuning import STUDY

FOLDER = Path(__file__).parent


@pytest.mark.slow  # three models are trained, converted and proved
def test_the_best_model_leads_to_the_study(tmp_path: Path) -> None:
    project = shutil.copytree(FOLDER, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    with hw.connect(home=project / ".headway") as client:
        train = load_pipeline(project, "pipeline:train")
        space = {"depth": (1, 8), "trees": (5, 20)}
        study = hw.tune(train, space, metric="loss", trials=3, workers=2, seed=1, params={"rows": 200})
        assert study.best is not None
        assert [trial.state for trial in study.trials] == ["finished"] * 3
        [best] = [each for each in client.models.versions().items if each.run == study.best.run]
        assert study.best.run in [edge.parent for edge in client.lineage.of(best.id).up]
        assert study.run in [edge.parent for edge in client.lineage.of(study.best.run).up]
        assert STUDY in [artifact.name for artifact in client.runs.artifacts(best.run)]
        steps = {step.step: step.state for step in client.runs.steps(study.trials[-1].run)}
        assert steps["points"] == "cached"
