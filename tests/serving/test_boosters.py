"""Real files of LightGBM and XGBoost, run in workers of an interpreter that has them; slow, since it is built first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headway.engines.models.given import model_at
from headway.engines.models.opening import WorkerModel
from headway.engines.runtimes.python import Plan
from headway.errors import Invalid
from headway.lifecycle.models.records import PythonRuntime
from tests.serving.environments import Environment

pytestmark = pytest.mark.slow
ENDS, KINDS = ("txt", "ubj", "json"), ("binary", "several", "number")


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment("lightgbm==4.7.0", "xgboost-cpu==3.2.0", "numpy==2.4.6")


@pytest.fixture(scope="module")
def folder(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("boosters")
    assert environment.run("boosters.py", str(made)) == "made"
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ENDS)
def test_it_answers_as_it_does_where_it_was_trained(
    environment: Environment, folder: Path, kind: str, end: str
) -> None:  # fmt: skip
    runtime = PythonRuntime(python=environment.python)
    made = model_at(folder / f"{kind}.{end}", runtime=runtime)
    assert made.signature.classes == ((0, 1, 2) if kind == "several" else ())
    assert [spec.name for spec in made.signature.inputs] == ["a", "b", "c"]
    model = WorkerModel(Plan(made.form, folder / f"{kind}.{end}", runtime, made.signature))
    try:
        frame = pl.DataFrame(np.load(folder / "rows.npy"), schema=["a", "b", "c"])
        assert model.score(frame) == pytest.approx(np.load(folder / f"{kind}.{end}.npy"), abs=1e-7)
    finally:
        model.close()


@pytest.mark.parametrize("end", ENDS)
def test_a_file_that_was_cut_ends_nobody(environment: Environment, folder: Path, tmp_path: Path, end: str) -> None:
    data = (folder / f"several.{end}").read_bytes()
    runtime = PythonRuntime(python=environment.python, start_limit_s=30.0)
    for size in (1, len(data) // 3, len(data) - 40):
        (tmp_path / f"model.{end}").write_bytes(data[:size])
        with pytest.raises(Exception, match=r"does not load|was ended|no model") as raised:
            model_at(tmp_path / f"model.{end}", runtime=runtime)
        assert isinstance(raised.value, Invalid) or "ended" in str(raised.value)
