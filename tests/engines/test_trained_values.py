"""Tensors and boosters between steps: by their own libraries, in environments that have them; slow, since those are
built first. Without them it is said what to install."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from headway.engines.pipelines.formats import decode_value
from headway.errors import ExtraMissing
from tests.serving.environments import Environment

SCRIPT = str(Path(__file__).parent / "peers" / "trained.py")
PACKAGES = {
    "torch": ("torch==2.13.0", "onnxscript==0.7.2", "safetensors==0.8.0", "numpy==2.4.6"),
    "lightgbm": ("lightgbm==4.7.0", "xgboost-cpu==3.2.0", "numpy==2.4.6"),
    "xgboost": ("lightgbm==4.7.0", "xgboost-cpu==3.2.0", "numpy==2.4.6"),
    "catboost": ("catboost==1.2.10", "numpy==2.4.6"),
}
FORMATS = {"torch": ("safetensors", "OrderedDict"), "catboost": ("catboost:CatBoostClassifier", "CatBoostClassifier")}


@pytest.mark.parametrize(
    ("name", "told"),
    [("safetensors", "headway[torch]"), ("lightgbm", "headway[lightgbm]"), ("xgboost", "headway[xgboost]"),
     ("catboost:CatBoost", "headway[catboost]")],
)  # fmt: skip
def test_without_its_library_it_is_said_what_to_install(name: str, told: str) -> None:
    library = {"safetensors": "torch"}.get(name, name.partition(":")[0])
    if find_spec(library):
        pytest.skip(f"{library} is installed here")
    with pytest.raises(ExtraMissing) as raised:
        decode_value(name, b"\2\0\0\0\0\0\0\0{}")
    assert f"pip install '{told}'" in str(raised.value)


@pytest.fixture(scope="module")
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    library = request.param
    environment = Environment(*PACKAGES[library])
    folder = tmp_path_factory.mktemp(library)
    found: dict[str, Any] = environment.run(SCRIPT, str(folder), library, timeout_s=300, beside=True)
    return {"library": library, **found}


@pytest.mark.slow
@pytest.mark.parametrize("said", sorted(PACKAGES), indirect=True)
def test_it_is_handed_over_and_trained_again_to_the_same_bytes(said: dict[str, Any]) -> None:
    library = said["library"]
    form, kind = FORMATS.get(library, (library, "Booster"))
    assert (said["format"], said["kind"]) == ([form], kind)
    assert said["same"], "it answers as where it was trained"
    assert said["first"] == {"train": "done", "ask": "done"}
    assert said["again"] == {"train": "done", "ask": "cached"}


@pytest.mark.slow
@pytest.mark.parametrize("said", ["lightgbm", "xgboost"], indirect=True)
def test_an_estimator_with_a_booster_inside_says_what_to_give_instead(said: dict[str, Any]) -> None:
    instead = {"lightgbm": "return model.booster_", "xgboost": "return model.get_booster()"}[said["library"]]
    assert instead in said["estimator"]


@pytest.mark.slow
@pytest.mark.parametrize("said", ["torch"], indirect=True)
def test_tensors_come_back_as_they_were_mapped_where_they_are_large(said: dict[str, Any]) -> None:
    told = said["tensors"]
    assert (told["same"], told["names"], told["again"]) == (True, ["b", "a"], True)
    assert told["formats"] == ["safetensors", "tree"]
    assert (told["mapped"], told["kept"]) == (True, 0.0)
    assert "return model.state_dict()" in told["net"]
    assert told["grows"].startswith("at ['w']:")
    assert "return tensor.detach()" in told["grows"]
    assert "it is sparse" in told["sparse"]
