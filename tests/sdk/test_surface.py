"""What `import headway` offers, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import headway

HEAVY = ("litestar", "sqlalchemy", "numpy", "polars", "rich", "httpx2", "msgspec", "click", "sklearn", "onnx")


def loaded_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after `code`."""
    asked = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_import_loads_nothing() -> None:
    loaded = loaded_after("import headway")
    assert loaded.isdisjoint(HEAVY)
    assert {name for name in loaded if name.startswith("headway.")} == set()


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import headway as hw; hw.step; hw.pipeline; hw.check; hw.Contract", set(HEAVY) - {"msgspec"}),
        ("import headway as hw; hw.connect; hw.start_run", {"litestar", "sqlalchemy", "numpy", "polars", "rich"}),
        ("import headway.client.client", {"litestar", "sqlalchemy", "numpy", "polars", "rich", "click"}),
        ("import headway.running.searching, headway.sdk", {"ray", "optuna", "litestar", "numpy", "polars", "rich"}),
        ("import headway.cli.main", set(HEAVY) - {"click"}),
    ],
)
def test_names_load_no_more_than_they_need(code: str, without: set[str]) -> None:
    assert loaded_after(code).isdisjoint(without)


def test_help_and_version_load_no_command() -> None:
    for option in ("--help", "--version"):
        code = f"from headway.cli.main import main\ntry: main(['{option}'])\nexcept SystemExit: pass"
        loaded = loaded_after(code)
        assert loaded.isdisjoint(set(HEAVY) - {"click"})
        assert {"headway.cli.up", "headway.cli.run", "headway.client"}.isdisjoint(loaded)


@pytest.mark.parametrize("name", headway.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(headway, name) is not None
    assert name in dir(headway)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lgo_metric'"):
        _ = headway.lgo_metric


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(headway.__file__).read_text())
    shown = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headway.")
        for alias in node.names
    }
    assert shown == set(headway.__all__)


def test_names_lead_to_where_they_say() -> None:
    for module, names in headway._PLACES.items():
        for name in names:
            assert getattr(import_module(module), name) is getattr(headway, name)
