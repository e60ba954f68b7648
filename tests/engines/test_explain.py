"""Which edit runs which steps again, and what is said of it: the same project, edited, in a process of its own mind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headway.engines.pipelines.executor import LocalExecutor
from headway.engines.pipelines.preview import PreviewExecution
from headway.engines.pipelines.project import load_pipeline
from headway.errors import BadPipeline
from headway.lifecycle.runs.explanations import Because, Explanation, Preview
from headway.testing.session import MemorySession

FLOW = '''
from dataclasses import dataclass
from functools import partial, wraps
import headway as hw
import tools
from parts.shapes import Shape, area
from kitlib import ten

SEED = 7
PLUS = 1

def counted(times):
    def outer(function):
        @wraps(function)
        def inner(*given):
            return times * function(*given)
        return inner
    return outer

@hw.step
def load(n: int) -> list[int]:
    """Reads."""
    return list(range(n))

@hw.step
def clean(rows: list[int], drop: int = 0) -> list[int]:
    kept = [tools.double(row) for row in rows]  # twice
    return kept[drop:]

@hw.step
def shape(rows: list[int]) -> int:
    return area(Shape(len(rows), SEED))

@hw.step
@counted(2)
def weigh(rows):
    from parts import scales
    return scales.weigh(rows) + ten()

@hw.step
def total(parts: list[int]) -> int:
    return sum(parts)

@hw.pipeline
def flow(n: int = 3, drop: int = 0):
    rows = clean(load(n), drop=drop)
    return total([shape(rows), weigh(rows)])
'''
TOOLS = """
LIMIT = {"top": 50}

def double(x):
    return min(twice(x), LIMIT["top"])

def twice(x):
    y: int = 2 * x
    return y

def unused(x):
    return x
"""
SHAPES = """
from dataclasses import dataclass

@dataclass
class Shape:
    width: int
    height: int
    unit: float = 1.0

    @property
    def size(self) -> float:
        return self.width * self.height * self.unit

def area(shape):
    return int(measure(shape))

measure = lambda shape: shape.size
"""
SCALES = """
def weigh(rows):
    return sum(weight(row) for row in rows)

def weight(row, by=3):
    return by * row
"""
FILES = {
    "flow.py": FLOW, "tools.py": TOOLS, "parts/__init__.py": "", "parts/shapes.py": SHAPES, "parts/scales.py": SCALES,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    kept, path, finders = dict(sys.modules), list(sys.path), list(sys.meta_path)
    yield
    for name in set(sys.modules) - set(kept):
        if name.split(".")[0] in ("flow", "tools", "parts", "kitlib"):
            del sys.modules[name]
    sys.path[:], sys.meta_path[:] = path, finders


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


class Project:
    """A project on disk beside a folder of installed packages, run again and again over one store."""

    def __init__(self, folder: Path, installed: Path) -> None:
        self.folder, self.installed = folder, installed
        self.session = MemorySession()
        self.clock = Clock()
        self.why: list[Explanation] = []
        self.install("kitlib", "1.0")

    def install(self, name: str, version: str) -> None:
        """As pip would: a folder with the name and the version."""
        for old in self.installed.glob("*.dist-info"):
            old.rmdir()
        (self.installed / f"{name}-{version}.dist-info").mkdir(parents=True)
        (self.installed / "kitlib.py").write_text("def ten():\n    return 10\n")

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def run(self, force: tuple[str, ...] = (), **params: Any) -> set[str]:
        """The steps that ran."""
        self.session = MemorySession(self.session.run + "'", self.session)
        self.why = []
        pipeline = load_pipeline(self.folder, "flow:flow")
        executor = LocalExecutor(self.session, self.clock, self.folder, force=force, explain=self.why.append)
        executor.run(pipeline, params)
        return {name for name, step in self.session.steps.items() if step.state == "done"}

    def preview(self, force: tuple[str, ...] = (), **params: Any) -> Preview:
        session = MemorySession("", self.session)
        pipeline = load_pipeline(self.folder, "flow:flow")
        preview = PreviewExecution(session, self.clock, self.folder, force).of(pipeline, params)
        assert session.steps == {}
        return preview

    def reasons(self, step: str) -> list[tuple[str, str, str, str]]:
        found = next(each for each in self.why if each.step == step)
        return [
            (reason.because.value, reason.where or reason.what, reason.before, reason.after) for reason in found.reasons
        ]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    installed = tmp_path / "installed"
    installed.mkdir()
    monkeypatch.syspath_prepend(str(installed))
    made = Project(tmp_path / "project", installed)
    made.write(FILES)
    assert made.run() == {"load", "clean", "shape", "weigh", "total"}
    return made


Edit = tuple[str, str, str]
NOTHING: dict[str, Edit] = {
    "comment": ("flow.py", "# twice", "# doubled"),
    "docstring": ("flow.py", '"""Reads."""', '"""Reads rows."""'),
    "docstring gone": ("flow.py", '    """Reads."""\n', ""),
    "layout": ("flow.py", "[tools.double(row) for row in rows]", "[\n        tools.double(row)\n    for row in rows]"),
    "annotation of a step": ("flow.py", "def load(n: int) -> list[int]", "def load(n) -> list"),
    "annotation of a helper": ("tools.py", "def double(x):", "def double(x: int) -> int:"),
    "annotation of a local": ("tools.py", "y: int = 2", "y = 2"),
    "annotation of a method": ("parts/shapes.py", "def size(self) -> float", "def size(self)"),
    "option cache": ("flow.py", "@hw.step\ndef load", '@hw.step(cache="1d")\ndef load'),
    "option name": ("flow.py", "@hw.step\ndef shape", '@hw.step(name="shape")\ndef shape'),
    "option pickle": ("flow.py", "@hw.step\n@counted", "@hw.step(pickle=True)\n@counted"),
    "unused helper": ("tools.py", "    return x\n", "    return -x\n"),
    "unused constant": ("flow.py", "PLUS = 1", "PLUS = 2"),
    "the pipeline itself": ("flow.py", "    rows = clean(load(n), drop=drop)\n", "    rows = clean(load(n), drop)\n"),
    "another order of definitions": ("tools.py", TOOLS, TOOLS.replace("def unused(x):\n    return x\n", "") + "\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_an_edit_that_cannot_matter_runs_nothing(project: Project, name: str) -> None:
    file, old, new = NOTHING[name]
    assert old in FILES[file]
    project.write({file: FILES[file].replace(old, new)})
    assert project.run() == set()
    assert all(each.reasons[0].because is Because.SAME for each in project.why)


# The edit, the steps that run again, and for the first of them where the change stands and what it is.
SOMETHING: dict[str, tuple[Edit, str, tuple[str, str, str]]] = {
    "a step": (
        ("flow.py", "list(range(n))", "list(range(n + 1))"), "load clean shape weigh total",
        ("flow.py:23", "return list(range(n))", "return list(range(n + 1))"),
    ),
    "a step whose output stays": (
        ("flow.py", "list(range(n))", "[*range(n)]"), "load",
        ("flow.py:23", "return list(range(n))", "return [*range(n)]"),
    ),
    "a default": (
        ("flow.py", "drop: int = 0) -> list", "drop: int = 1) -> list"), "clean",
        ("flow.py:26", "def clean(rows: list[int], drop: int = 0) -> list[int]:",
         "def clean(rows: list[int], drop: int = 1) -> list[int]:"),
    ),
    "a helper's helper": (
        ("tools.py", "2 * x", "3 * x"), "clean shape weigh total", ("tools.py:8", "y: int = 2 * x", "y: int = 3 * x"),
    ),
    "a helper's constant": (
        ("tools.py", '"top": 50', '"top": 60'), "clean", ("tools.py:2", "{'top': 50}", "{'top': 60}"),
    ),
    "a constant of the module": (("flow.py", "SEED = 7", "SEED = 8"), "shape total", ("flow.py:9", "7", "8")),
    "a method": (
        ("parts/shapes.py", "* self.unit", "* self.unit * 2"), "shape total",
        ("parts/shapes.py:12", "return self.width * self.height * self.unit",
         "return self.width * self.height * self.unit * 2"),
    ),
    "a field's default": (
        ("parts/shapes.py", "unit: float = 1.0", "unit: float = 2.0"), "shape total",
        ("parts/shapes.py:8", "unit: float = 1.0", "unit: float = 2.0"),
    ),
    "a field": (
        ("parts/shapes.py", "    unit: float = 1.0\n", "    unit: float = 1.0\n    name: str = ''\n"), "shape",
        ("parts/shapes.py:9", "", "name: str = ''"),
    ),
    "a lambda": (
        ("parts/shapes.py", "lambda shape: shape.size", "lambda shape: 2 * shape.size"), "shape total",
        ("parts/shapes.py:17", "measure = lambda shape: shape.size", "measure = lambda shape: 2 * shape.size"),
    ),
    "a decorator's argument": (
        ("flow.py", "@counted(2)", "@counted(3)"), "weigh total", ("times of weigh", "2", "3"),
    ),
    "a decorator": (
        ("flow.py", "times * function", "2 * times * function"), "weigh total",
        ("flow.py:16", "return times * function(*given)", "return 2 * times * function(*given)"),
    ),
    "what is imported in a function": (
        ("parts/scales.py", "sum(weight", "max(weight"), "weigh total",
        ("parts/scales.py:3", "return sum(weight(row) for row in rows)", "return max(weight(row) for row in rows)"),
    ),
    "a helper's default": (
        ("parts/scales.py", "by=3", "by=4"), "weigh total",
        ("parts/scales.py:5", "def weight(row, by=3):", "def weight(row, by=4):"),
    ),
    "a declared version": (
        ("flow.py", "@hw.step\ndef load", '@hw.step(version="2")\ndef load'), "load", ("version", "", "2"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOMETHING)
def test_an_edit_runs_just_what_it_touches_and_is_named(project: Project, name: str) -> None:
    (file, old, new), expected, (where, before, after) = SOMETHING[name]
    assert old in FILES[file]
    project.write({file: FILES[file].replace(old, new)})
    foreseen = project.preview()
    assert project.run() == set(expected.split())
    first = expected.split()[0]
    reasons = project.reasons(first)
    assert any(reason[1].endswith(where) and (reason[2], reason[3]) == (before, after) for reason in reasons), reasons
    would = {each.step: each.runs for each in foreseen.steps}
    assert would[first] is True
    for step in would:
        assert would[step] is None or would[step] == (step in expected.split())
    project.write({file: FILES[file]})
    assert project.run() == set()


def test_a_package_that_is_reached_counts_by_its_version(project: Project) -> None:
    project.install("kitlib", "2.0")
    foreseen = project.preview()
    assert {each.step for each in foreseen.steps if each.runs} == {"weigh"}
    assert project.run() == {"weigh"}
    assert project.reasons("weigh") == [("package", "kitlib", "1.0", "2.0")]
    project.install("other", "2.0")
    assert project.run() == {"weigh"}
    assert project.run() == set()


def test_params_are_named(project: Project) -> None:
    assert project.run(n=4) == {"load", "clean", "shape", "weigh", "total"}
    assert project.reasons("load") == [("argument", "n", "3", "4")]
    assert project.reasons("clean") == [("argument", "rows", "what load gives", "what load gives")]
    assert project.run(n=4, drop=1) == {"clean", "shape", "weigh", "total"}
    assert project.run() == set()


def test_what_is_forced_runs_and_stops_there(project: Project) -> None:
    assert {each.step for each in project.preview(force=("clean",)).steps if each.runs} == {"clean"}
    assert project.run(force=("clean",)) == {"clean"}
    assert project.reasons("clean")[0][0] == "forced"
    with pytest.raises(BadPipeline, match="no step 'cleam' ran, so it cannot be forced; did you mean 'clean'"):
        project.run(force=("cleam",))


def test_age_limits_and_steps_without_a_cache(project: Project) -> None:
    aged = FLOW.replace("@hw.step\ndef load", '@hw.step(cache="1d")\ndef load')
    project.write({"flow.py": aged})
    project.clock.moment += timedelta(hours=23)
    assert project.run() == set()
    project.clock.moment += timedelta(hours=2)
    assert project.run() == {"load"}
    assert project.reasons("load")[0][:2] == ("age", "older than 86400 s")
    assert project.run() == set()
    project.write({"flow.py": FLOW.replace("@hw.step\ndef load", "@hw.step(cache=False)\ndef load")})
    for _ in range(2):
        assert project.run() == {"load"}
        assert project.reasons("load")[0][0] == "uncached"


@pytest.mark.parametrize("cache", ["", "soon", "1y", "-1d", "0s", timedelta(0), None, 5])
def test_what_is_no_age_is_refused(cache: Any) -> None:
    import headway as hw  # noqa: PLC0415

    with pytest.raises(BadPipeline, match="is no age"):
        hw.step(name="work", cache=cache)(lambda: 1)


def test_a_preview_goes_as_far_as_it_can(tmp_path: Path, project: Project) -> None:
    asked = FLOW.replace("    return total([", "    if load(n).value:\n        weigh(rows)\n    return total([")
    project.write({"flow.py": asked})
    whole = project.preview()
    assert (len(whole.steps), whole.open_end) == (7, "")
    cut = project.preview(n=9)
    assert [each.step for each in cut.steps] == ["load", "clean", "load-2"]
    assert "depends on what load-2 gives" in cut.open_end


def test_a_first_preview_runs_everything_it_can_see(tmp_path: Path) -> None:
    fresh = Project(tmp_path / "project", tmp_path / "installed")
    fresh.write({"flow.py": (
        "import headway as hw\n@hw.step\ndef pair() -> tuple[int, int]:\n    return 1, 2\n"
        "@hw.step\ndef add(a: int, b: int) -> int:\n    return a + b\n"
        "@hw.pipeline\ndef flow():\n    a, b = pair()\n    return add(a, b)\n"
    )})  # fmt: skip
    preview = fresh.preview()
    assert [(each.step, each.runs) for each in preview.steps] == [("pair", True), ("add", None)]
    assert fresh.run() == {"pair", "add"}
    assert [each.runs for each in fresh.preview().steps] == [False, False]


def test_secrets_are_not_kept_with_the_code(project: Project) -> None:
    project.write({"flow.py": FLOW.replace("SEED = 7", 'SEED = 7\nAPI_KEY = "sk-verysecret"').replace(
        "Shape(len(rows), SEED)", "Shape(len(rows), SEED + len(API_KEY))"
    )})  # fmt: skip
    project.run()
    assert not any(b"verysecret" in data for data in project.session.blobs.values())
