"""Finding a project, digesting its code, loading its pipelines, and params from texts."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.engines.pipelines.project import code_of, coerce_params, find_project, load_declared, load_pipeline
from headway.errors import BadPipeline, BadSettings
from headway.lifecycle.runs.pipeline import DeclaredStep, Pipeline, pipeline

HEAD = "from headway.lifecycle.runs.pipeline import pipeline, step\n"


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    kept, path, finders = set(sys.modules), list(sys.path), list(sys.meta_path)
    yield
    for name in set(sys.modules) - kept:
        if not name.startswith(("headway", "encodings")):
            del sys.modules[name]
    sys.path[:], sys.meta_path[:] = path, finders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "headway.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "flow.py").write_text(
        HEAD + "import parts.numbers\nfrom parts import numbers as n\n"
        "@pipeline\ndef train(k: int = 2):\n    return n.times(parts.numbers.ONE, k)\n"
        "def plain():\n    return 1\n"
    )
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "numbers.py").write_text(HEAD + "ONE = 1\n@step\ndef times(a, k):\n    return a * k\n")
    return tmp_path


def test_a_project_is_found_upward(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    assert find_project(folder / "a" / "b") == find_project(folder) == folder.resolve()


def test_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"no headway.toml in .* or above it; .*headway init"):
        find_project(tmp_path)


def test_the_digest_is_of_python_files_and_settings(folder: Path) -> None:
    before = code_of(folder).digest
    assert before.startswith("b3:")
    for name in ("data.csv", ".venv/lib/x.py", "__pycache__/flow.py", "env/lib/y.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1")
    (folder / "env" / "pyvenv.cfg").write_text("")
    (folder / "gone.py").symlink_to(folder / "nowhere")
    assert code_of(folder).digest == before
    (folder / "more.py").write_text("")
    more = code_of(folder).digest
    (folder / "more.py").rename(folder / "mare.py")
    assert len({before, more, code_of(folder).digest}) == 3
    (folder / "headway.toml").write_text("")
    assert code_of(folder).digest not in (before, more)


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_commit_and_edits_since(folder: Path) -> None:
    assert (code_of(folder).commit, code_of(folder).dirty) == ("", False)
    git(folder, "init", "-q")
    assert code_of(folder).commit == ""
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / ".headway").mkdir()
    (folder / ".headway" / "db").write_text("")
    assert (code_of(folder).commit, code_of(folder).dirty) == (git(folder, "rev-parse", "HEAD"), False)
    (folder / "flow.py").write_text("")
    assert code_of(folder).dirty


def test_without_git_there_is_still_a_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    code = code_of(folder)
    assert (code.digest[:3], code.commit, code.dirty) == ("b3:", "", False)


def test_a_pipeline_is_loaded_with_the_modules_of_its_project(folder: Path) -> None:
    assert load_pipeline(folder, "flow:train")(3) == 3
    assert not list(folder.rglob("__pycache__"))


def test_loading_again_sees_an_edit_at_once(folder: Path) -> None:
    for number in range(1, 6):
        (folder / "parts" / "numbers.py").write_text(
            HEAD + f"ONE = {number}\n@step\ndef times(a, k):\n    return a * k\n"
        )
        assert load_pipeline(folder, "flow:train")(1) == number


def test_two_projects_do_not_mix(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "flow.py").write_text(HEAD + "@pipeline\ndef train():\n    return 'other'\n")
    assert load_pipeline(folder, "flow:train")(3) == 3
    assert load_pipeline(other, "flow:train")() == "other"
    assert load_pipeline(folder, "flow:train")(3) == 3


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("flow", "'flow' is no entry: write module:function"),
        ("../flow:train", "is no entry"),
        ("flow:train()", "is no entry"),
        ("flwo:train", r"there is no flwo.py in .*; did you mean 'flow'\?"),
        ("parts.number:times", r"there is no number.py in .*parts$"),
        ("flow:trian", r"flow has no pipeline 'trian'; did you mean 'train'\?"),
        ("flow:zzz", r"flow has no pipeline 'zzz' \(it has train\)"),
        ("parts.numbers:zzz", r"parts.numbers has no pipeline 'zzz'; mark a function with @pipeline"),
        ("flow:plain", "flow:plain is no pipeline: put @pipeline above its definition"),
    ],
)
def test_a_wrong_entry_says_what_there_is(folder: Path, entry: str, said: str) -> None:
    with pytest.raises(BadPipeline, match=said):
        load_pipeline(folder, entry)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_like_this", r"module 'bad' failed .*ModuleNotFoundError: .*nothing_like_this.* \(bad.py:2 in"),
        ("x = 1 / 0", r"ZeroDivisionError: division by zero \(bad.py:2 in"),
        ("def f(:", "bad.py line 2 cannot be read: invalid syntax"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import worse", r"worse.py line 1 cannot be read"),
    ],
)
def test_a_module_that_fails_is_told_by_its_line(folder: Path, text: str, said: str) -> None:
    (folder / "bad.py").write_text("\n" + text)
    (folder / "worse.py").write_text("x = = 1")
    with pytest.raises(BadPipeline, match=said):
        load_pipeline(folder, "bad:train")


def test_a_module_with_the_name_of_another_is_told(folder: Path) -> None:
    importlib.import_module("json")
    (folder / "json.py").write_text("")
    with pytest.raises(BadPipeline, match=r"json.py has the name of a module that is loaded already; rename it"):
        load_pipeline(folder, "json:train")


def test_a_declared_graph_is_loaded_from_its_steps(folder: Path) -> None:
    (folder / "steps.py").write_text(HEAD + "@step\ndef start(k: int):\n    return k\n")
    graph = {
        "first": DeclaredStep(call="steps:start"),
        "second": DeclaredStep(call="parts.numbers:times", inputs={"a": "first"}),
    }
    made = load_declared(folder, "both", graph)
    assert made(k=3) == {"first": 3, "second": 9}
    assert coerce_params(made, {"k": "4"}) == {"k": 4}
    with pytest.raises(BadPipeline, match="flow:plain is no step: put @step above"):
        load_declared(folder, "both", {"a": DeclaredStep(call="flow:plain")})


class Colour(Enum):
    RED = "red"


@pipeline
def many(  # type: ignore[no-untyped-def]
    months: int, share: float = 0.5, fast: bool = False, label: str = "late", top: int | None = None, *,
    day: date = date(2013, 1, 1), kind: Literal["a", "b"] = "a", colour: Colour = Colour.RED,
    names: list[str] = [], rates: dict[str, float] = {}, open_: Any = None, bare=3, free=None,  # noqa: B006
) -> None:  # fmt: skip
    """Takes one of each."""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("months", "3", 3), ("months", "-3", -3), ("share", "1e-3", 0.001), ("share", "2", 2.0), ("fast", "true", True),
        ("fast", "0", False), ("label", "3", "3"), ("label", "", ""), ("top", "4", 4), ("top", "null", None),
        ("day", "2014-02-03", date(2014, 2, 3)), ("kind", "b", "b"), ("colour", "red", Colour.RED),
        ("names", '["a", "b"]', ["a", "b"]), ("rates", '{"a": 1}', {"a": 1.0}), ("open_", "[1]", [1]),
        ("open_", "words", "words"), ("bare", "4", 4), ("free", "4", 4), ("free", "x", "x"),
    ],
)  # fmt: skip
def test_params_are_read_by_their_types(name: str, text: str, value: Any) -> None:
    found = coerce_params(many, {"months": "1", name: text})[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "pipeline 'many' needs a value for months: months=..."),
        ({"months": "1", "mnoths": "1"}, r"has no param 'mnoths'; did you mean 'months'\?"),
        ({"months": "3.5"}, "param 'months' takes int, and '3.5' is none"),
        ({"months": "three"}, "param 'months' takes int"),
        ({"months": "1", "fast": "perhaps"}, "param 'fast' takes bool"),
        ({"months": "1", "bare": "x"}, "param 'bare' takes int"),
        ({"months": "1", "kind": "c"}, "param 'kind' takes .*Literal"),
        ({"months": "1", "names": "a,b"}, r"param 'names' takes list\[str\]"),
        ({"months": "1", "rates": '{"a": "x"}'}, r"param 'rates' takes dict\[str, float\]"),
    ],
)
def test_wrong_params_are_told(given: dict[str, str], said: str) -> None:
    with pytest.raises(BadPipeline, match=said):
        coerce_params(many, given)


def test_a_pipeline_of_any_params_takes_any() -> None:
    assert coerce_params(Pipeline(lambda **params: params, name="p"), {"a": "1", "b": "x"}) == {"a": 1, "b": "x"}


@given(st.sampled_from(sorted(many.signature.parameters)), st.text())
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    with suppress(BadPipeline):
        assert name in coerce_params(many, {"months": "1", name: text})
