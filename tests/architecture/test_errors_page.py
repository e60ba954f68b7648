"""`docs/errors.md` has every error with its status and exit code; and all errors have one shape."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from headway import errors
from headway.cli.main import _EXIT_CODES, main
from headway.errors import HeadwayError
from headway.server.errors import rendered
from tests.architecture.documents import ROOT, codes, section

PAGE = "docs/errors.md"


def subclasses(kind: type[HeadwayError]) -> Iterator[type[HeadwayError]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


EVERY = list(dict.fromkeys(each for each in subclasses(HeadwayError) if each.__module__.startswith("headway.")))


def test_errors_are_drawn_in_one_file() -> None:
    names = {HeadwayError.__name__, *(each.__name__ for each in EVERY)}
    elsewhere = [
        f"{file}: {node.name}"
        for file in (ROOT / "headway").rglob("*.py")
        if file != Path(errors.__file__)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and names & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    ]
    assert elsewhere == []
    assert len({each.code for each in EVERY}) == len(EVERY)


def test_every_error_with_its_status_and_exit_code() -> None:
    told = {codes(row[0])[0]: (int(row[1]), int(row[2])) for row in section(PAGE, "Errors").rows}
    assert told == {each.code: (rendered(each("no"))[0], _exit(each)) for each in EVERY}


def test_every_error_says_what_to_do() -> None:
    assert [row[0] for row in section(PAGE, "Errors").rows if len(row) != 5 or not all(row)] == []


def _exit(kind: type[HeadwayError]) -> int:
    return next(code for branch, code in _EXIT_CODES.items() if issubclass(kind, branch))


@pytest.mark.parametrize("kind", [*EVERY, ValueError], ids=lambda kind: kind.__name__)
def test_one_shape_over_http(kind: type[Exception]) -> None:
    error = kind("no", at="x") if issubclass(kind, HeadwayError) else kind("no")
    [(key, said)] = json.loads(rendered(error)[1]).items()
    assert key == "error"
    assert {name: type(value) for name, value in said.items()} == {"code": str, "message": str, "details": dict}


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["status", "--url", "http://127.0.0.1:1"], ["run", "show"], ["token", "create", "--days"]],
)
def test_one_shape_on_the_command_line(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["--json", *arguments])
    [(key, said)] = json.loads(done.stderr).items()
    assert (key, set(said)) == ("error", {"code", "message", "details"})
    assert done.exit_code in _EXIT_CODES.values()
