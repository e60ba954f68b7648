"""Tags of data reach the models that came from them, through runs, datasets made of datasets, and cached steps."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import headway as hw
from headway.cli.main import main
from headway.engines.gates.gatekeeper import measure
from headway.engines.gates.trial import Table, Trial
from headway.engines.pipelines.project import load_pipeline
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.gates.records import Finding, Outcome
from headway.sdk import connect, run_on

STEPS = """
    import headway as hw

    @hw.step
    def raw():
        return hw.read_dataset("people")["income"].to_list()

    @hw.step
    def derive(rows, factor):
        hw.add_dataset("derived", {"x": [row * factor for row in rows], "late": [0, 1, 0, 1]})
        return factor

    @hw.pipeline
    def make(factor: int = 1):
        derive(raw(), factor)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HEADWAY_HOME", "HEADWAY_URL", "HEADWAY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "headway.toml").write_text('[pipelines.make]\nentry = "tagged_steps:make"\n')
    (tmp_path / "tagged_steps.py").write_text(textwrap.dedent(STEPS))
    return tmp_path


def column(name: str, **rule: Any) -> hw.ColumnRule:
    return hw.ColumnRule(**{"name": name, "kind": hw.Kind.FLOAT, **rule})


def judged(client: hw.Client, reference: str, banned: list[str]) -> Finding:
    version = client.models.version(reference)
    held_out = Table(client.datasets.version(version.evaluation), client.datasets.parquet(version.evaluation))
    trial = Trial(version, client.blobs.get(version.blob), held_out, origins=client.models.origins(version.id))
    return measure(trial, [CheckSpec(check="tags", settings={"banned": banned})]).findings["tags"]


def test_a_tag_reaches_the_model_however_it_went(project: Path) -> None:
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415

    client = connect(home=project / ".headway")
    people = hw.Contract(columns=(column("income", tags=("pii",)),), tags=("licence:cc-by-nc",))
    client.datasets.add("people", {"income": [1.0, 2.0, 3.0, 4.0]}, contract=people)
    clean = client.datasets.add("clean", {"x": [1.0, 2.0, 3.0], "late": [0.0, 1.0, 1.0]})
    held_out = client.datasets.add("held-out", {"x": [4.0, 5.0], "late": [1.0, 1.0]})
    run_on(client, load_pipeline(project, "tagged_steps:make"), {"factor": 1})
    run_on(client, load_pipeline(project, "tagged_steps:make"), {"factor": 2})  # reads nothing: `raw` is cached
    derived = client.datasets.version("derived@2")
    steps = {step.step: step.state for step in client.runs.steps(derived.made_by)}
    assert steps["raw"] == "cached"
    frame = client.datasets.read("clean")
    model = LinearRegression().fit(frame.select("x").to_pandas(), frame["late"].to_numpy())
    told = {"evaluation": held_out, "task": "regression", "example": frame.select("x")}
    with hw.start_run("from-derived") as run:
        hw.log_model(
            "tagged", model, training=[derived], evaluation=clean, task="regression", example=frame.select("x")
        )
    with hw.start_run("from-clean"):
        hw.read_dataset("clean")
        hw.log_model("free", model, training=[clean], **told)

    origins = client.models.origins("tagged")
    assert [client.datasets.version(each).label for each in origins.datasets] == ["derived@2", "people@1"]
    assert {(each.tag, each.dataset, each.column) for each in origins.tags} == {
        ("pii", "people@1", "income"), ("licence:cc-by-nc", "people@1", ""),
    }  # fmt: skip
    free = client.models.origins("free")
    assert ([client.datasets.version(each).label for each in free.datasets], free.tags) == (["clean@1"], ())
    assert judged(client, "tagged", ["secret"]).outcome is Outcome.PASS
    assert judged(client, "tagged", ["pii"]).reason == "people@1 income bears 'pii'"
    assert judged(client, "tagged", ["licence:"]).outcome is Outcome.FAIL
    assert judged(client, "tagged", ["licence"]).outcome is Outcome.PASS
    assert judged(client, "free", ["pii", "licence:"]).outcome is Outcome.PASS
    assert client.runs.get(run.id).inputs == ()
    client.close()
    shown = CliRunner().invoke(main, ["model", "show", "tagged", "--home", str(project / ".headway")])
    assert "pii: people@1.income" in shown.output, shown.output
    page = CliRunner().invoke(
        main, ["dataset", "contract", "people", "--markdown", "--home", str(project / ".headway")]
    )
    assert "| income | float | feature |" in page.output
