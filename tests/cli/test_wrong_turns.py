"""Mistakes: a message that says what to do next, the right exit code, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from headway import errors
from headway.cli.main import CommandLine
from headway.errors import HeadwayError
from headway.kernel.access import Role
from tests.cli.conftest import Headway


class Raising(CommandLine):
    """A command line whose one command raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__("headway")
        self._error = error

    def invoke(self, ctx: click.Context) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Refused("x"), 1),
        (errors.ContractBroken("x"), 1),
        (errors.GateRefused("x"), 1),
        (errors.LedgerBroken("x"), 1),
        (errors.Forbidden("x"), 1),
        (errors.NotSignedIn("x"), 1),
        (errors.Invalid("x"), 2),
        (errors.BadPipeline("x"), 2),
        (errors.TooLarge("x"), 2),
        (errors.NotFound("x"), 2),
        (errors.Conflict("x"), 2),
        (errors.IllegalMove("x"), 2),
        (errors.Unavailable("x"), 3),
        (errors.ExtraMissing("x"), 3),
        (errors.Unreachable("x"), 3),
        (click.UsageError("x"), 2),
        (click.ClickException("x"), 2),
        (ZeroDivisionError("x"), 70),
        (HeadwayError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    monkeypatch.delenv("HEADWAY_DEBUG", raising=False)
    result = CliRunner().invoke(Raising(error), ["status"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_unexpected_errors_show_where_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_DEBUG", "1")
    assert isinstance(CliRunner().invoke(Raising(ZeroDivisionError("x")), ["status"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shp"], "did you mean 'ship'?"),
        (["change", "aprove", "1"], "did you mean 'approve'?"),
        (["rollout", "rollback", "x"], "did you mean 'roll-back'?"),
        (["run", "list", "--stat", "failed"], "--state"),
        (["run", "list", "--state", "dead"], "'dead' is not one of"),
        (["run", "list", "--limit", "0"], "0 is not in the range"),
        (["deployment", "served", "arrivals", "--at", "yesterday"], "2024-05-01T12:00"),
        (["token", "create", "x", "--role", "king"], "'king' is not one of"),
        (["token", "show", "ownr"], "did you mean 'owner'?"),
        (["change", "approve", "1"], "--why"),
        (["change", "show", "999"], "headway change list"),
        (["model", "show", "late@x"], "late@3"),
        (["model", "show", "nothing"], "headway model list"),
        (["run", "show", "rn_nothing"], "headway run list"),
        (["ship", "nothing"], "headway model list"),
        (["change", "open", "--to", "arrivals", "--pipeline", "train", "-p", "rows"], "-p rows=1000"),
        (["change", "open", "--to", "arrivals", "--pipeline", "t", "-p", "a=1", "-p", "a=2"], "there twice"),
        (["dataset", "add", "x", "/nowhere.csv"], "there is no file /nowhere.csv"),
        (["project", "apply", "/nowhere"], "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(headway: Headway, arguments: list[str], said: str) -> None:
    result = headway(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    error = json.loads(headway("--json", *arguments).stderr)["error"]
    assert error["code"]
    assert said.split("\n")[0] in error["message"]


def test_programs_are_told_what_is_wrong(headway: Headway) -> None:
    refused = headway("token", "create", "x", "--role", "owner", "--json", role=Role.READER)
    assert refused.exit_code == 1
    assert json.loads(refused.stderr)["error"]["code"] == "forbidden"


def test_a_bare_noun_shows_its_verbs(headway: Headway) -> None:
    shown = headway("change")
    assert shown.exit_code == 2
    assert "approve" in shown.stderr


class TestNowhere:
    @pytest.mark.parametrize("arguments", [["status"], ["run", "list"], ["ship", "x"]], ids=" ".join)
    def test_no_home_is_made_where_nobody_asked(self, bare: Headway, tmp_path: Path, arguments: list[str]) -> None:
        result = bare(*arguments)
        assert result.exit_code == 2
        assert "headway init" in result.stderr
        assert list(tmp_path.iterdir()) == []

    def test_a_misspelt_home_is_not_made(self, bare: Headway, tmp_path: Path) -> None:
        assert bare("--home", str(tmp_path / "hme"), "status").exit_code == 2
        assert list(tmp_path.iterdir()) == []

    def test_no_server(self, bare: Headway) -> None:
        result = bare("--url", "http://127.0.0.1:1", "status")
        assert result.exit_code == 3
        assert "headway up" in result.stderr

    def test_no_address(self, bare: Headway) -> None:
        assert bare("--url", "localhost:7070", "status").exit_code == 2

    def test_a_pipeline_without_a_project(self, bare: Headway, tmp_path: Path) -> None:
        (tmp_path / ".headway").mkdir()
        result = bare("run", "train")
        assert result.exit_code == 2
        assert "headway init" in result.stderr


@pytest.fixture
def in_project(bare: Headway, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    (tmp_path / "headway.toml").write_text('[project]\nname = "x"\n[pipelines.train]\nentry = "pipeline:train"\n')
    (tmp_path / "pipeline.py").write_text(
        "import headway as hw\n\n@hw.step\ndef double(n): return 2 * n\n\n"
        "@hw.step\ndef stop(n): raise ValueError('no more rows')\n\n"
        "@hw.pipeline\ndef train(rows: int, fast: bool = False): return double(rows)\n\n"
        "@hw.pipeline\ndef failing(): return stop(1)\n"
    )

    def run(*arguments: str) -> tuple[int, str]:
        result = bare("run", *arguments)
        return result.exit_code, result.output

    return run


class TestPipelines:
    def test_runs(self, in_project: Callable[..., tuple[int, str]]) -> None:
        code, said = in_project("train", "-p", "rows=21")
        assert code == 0
        assert "finished: 42" in said

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["trian", "-p", "rows=1"], "did you mean 'train'?"),
            (["lst"], "did you mean 'list'?"),
            (["train"], "rows"),
            (["train", "-p", "rows=many"], "'rows' takes int"),
            (["train", "-p", "rws=1"], "did you mean 'rows'?"),
            (["train", "-p", "rows"], "-p rows=1000"),
            (["pipeline:trian"], "did you mean 'train'?"),
            (["pipelin:train"], "did you mean 'pipeline'?"),
            (["pipeline:failing"], "no more rows"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_mistakes(self, in_project: Callable[..., tuple[int, str]], arguments: list[str], said: str) -> None:
        code, output = in_project(*arguments)
        assert code == 2
        assert said in output
        assert "Traceback" not in output
