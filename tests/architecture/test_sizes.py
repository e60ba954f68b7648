"""What keeps the code small: sizes, names, and packages that are only folders."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.documents import ROOT

MOST_LINES, MOST_FUNCTION_LINES = 500, 50
_SAYS_NOTHING = re.compile(r"(Manager|Handler|Helper|Utils?|Base|Common|Impl|Info)s?(?![a-z])")
_FILE_SAYS_NOTHING = re.compile(r"(^|_)(manager|handler|helper|util|base|common|impl|info)s?(_|$)")


@cache
def modules() -> tuple[Path, ...]:
    tops = ("headway", "examples", "tests", "benchmarks")
    return tuple(sorted(file for top in tops for file in (ROOT / top).rglob("*.py")))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def told(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_files_are_short() -> None:
    sizes = {told(file): len(file.read_text().splitlines()) for file in modules()}
    assert {name: lines for name, lines in sizes.items() if lines >= MOST_LINES} == {}


def test_functions_are_short() -> None:
    sizes = {f"{told(file)}: {node.name}": lines_of(node) for file in modules() for node in functions(file)}
    assert {name: lines for name, lines in sizes.items() if lines >= MOST_FUNCTION_LINES} == {}


def test_names_say_something() -> None:
    files = [told(file) for file in modules() if _FILE_SAYS_NOTHING.search(file.stem)]
    classes = [
        f"{told(file)}: {node.name}"
        for file in modules()
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ClassDef) and _SAYS_NOTHING.search(node.name)
    ]
    assert (files, classes) == ([], [])


@pytest.mark.parametrize("name", ["RunManager", "HTTPHandlers", "FooUtil", "BaseStore", "StoreImpl", "RunInfo"])
def test_names_that_say_nothing_would_be_found(name: str) -> None:
    assert _SAYS_NOTHING.search(name)


@pytest.mark.parametrize("name", ["Baseline", "BaselineSettings", "DatabaseUrl", "InformedChoice"])
def test_names_that_only_begin_alike_are_let_be(name: str) -> None:
    assert not _SAYS_NOTHING.search(name)


def test_packages_are_only_folders() -> None:
    full = [told(file) for file in modules() if file.name == "__init__.py" and file.read_text().strip()]
    assert full == ["headway/__init__.py"]


def test_tests_patch_nothing() -> None:
    """Clocks, ids, stores and targets are handed in."""
    patching = re.compile(r"(unittest\.|\b)mock(\.patch|\b.*import)|from unittest import mock")
    tests = [file for file in modules() if file.is_relative_to(ROOT / "tests") and file != Path(__file__)]
    assert [told(file) for file in tests if patching.search(file.read_text())] == []
