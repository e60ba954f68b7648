"""Pages lead where they say, and the example of the README does what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from headway.lifecycle.changes.records import Stage
from tests.architecture.documents import ROOT, anchors, codes, fenced, links, markdown, section


@pytest.mark.parametrize("page", markdown(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading; there are {anchors(target)}"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in links(index)}
    assert {page for page in markdown() if page.is_relative_to(ROOT / "docs") and page != index} <= linked


def test_the_example_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    [code], [printed] = fenced("README.md", "python"), fenced("README.md", "text")
    (tmp_path / "example.py").write_text(code)
    env = {name: value for name, value in os.environ.items() if not name.startswith("HEADWAY_")}
    env |= {"HEADWAY_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)


def test_the_readme_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {code for row in section("README.md", "Install").rows for code in codes(row[0])}
    assert named == {"pip install headway", *(f"pip install 'headway[{extra}]'" for extra in extras)}


def test_the_architecture_names_every_layer_stage_and_state() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    layers = [each.parent.name for each in (ROOT / "headway").glob("*/__init__.py")]
    stages = [each.parent.name for each in (ROOT / "headway" / "lifecycle").glob("*/__init__.py")]
    missing = [name for name in (*layers, *stages, *Stage) if name not in text]
    assert missing == []
