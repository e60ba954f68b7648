"""`test_trained.py` where the libraries are that it asks for: in environments that have them, built first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.test_trained_values import PACKAGES
from tests.serving.environments import Environment

ASKED = Path(__file__).with_name("test_trained.py")
SCRIPT = str(Path(__file__).parent / "peers" / "asked.py")
CONVERTERS = {"lightgbm": ("onnxmltools==1.16.0",), "xgboost": ("onnxmltools==1.16.0",)}


@pytest.mark.slow
@pytest.mark.parametrize(("library", "least"), [("lightgbm", 6), ("xgboost", 5), ("catboost", 5), ("torch", 1)])
def test_what_it_trains_is_converted_and_answers_alike(library: str, least: int, tmp_path: Path) -> None:
    environment = Environment(*PACKAGES[library], *CONVERTERS.get(library, ()))
    wanted = "network" if library == "torch" else library
    said = environment.run(SCRIPT, str(ASKED), wanted, str(tmp_path), timeout_s=600, beside=True)
    assert (said["failed"], said["skipped"]) == (0, 0), said["told"]
    assert said["passed"] >= least
