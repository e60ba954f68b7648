"""`headway export` and `headway import`, on homes of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import headway as hw
from headway import sdk
from headway.cli.main import main
from headway.server.home import Home
from tests.architecture.documents import fenced
from tests.server.world import deliver, open_world


@pytest.fixture(scope="module")
def ids(lived_in: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return lived_in[1]


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A home on which a server may run: it is open all the while."""
    home = tmp_path_factory.mktemp("lived") / ".headway"
    world = open_world(home)
    yield home, deliver(world)
    world.close()


def headway(home: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *map(str, arguments)])


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def test_a_home_moves(lived_in: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    home, ids = lived_in
    assert "--with-secrets would take them along" in said(headway(home, "export", tmp_path / "out"))
    assert "new signing key" in said(headway(tmp_path / "new", "import", tmp_path / "out"))
    said(headway(tmp_path / "new", "export", tmp_path / "again.tar"))
    said(headway(tmp_path / "newer", "import", "home", tmp_path / "again.tar"))
    said(headway(tmp_path / "newer", "export", tmp_path / "again"))
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            assert (tmp_path / "again" / file.relative_to(tmp_path / "out")).read_bytes() == file.read_bytes()
    with sdk.open_client(home=home) as before, sdk.open_client(home=tmp_path / "new") as after:
        assert after.runs.get(ids["run"]) == before.runs.get(ids["run"])
        assert after.datasets.read("flights").equals(before.datasets.read("flights"))
        assert after.models.version("late@1") == before.models.version("late@1")
        assert after.changes.get(ids["change"]) == before.changes.get(ids["change"])
        assert after.lineage.of(ids["run"]) == before.lineage.of(ids["run"])
        assert after.alerts.list() == before.alerts.list()
        assert after.ledger.verify() > 10


def test_secrets_go_along_when_asked(lived_in: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    home, ids = lived_in
    said(headway(home, "export", tmp_path / "out", "--with-secrets"))
    said(headway(tmp_path / "new", "import", tmp_path / "out"))
    there, here = Home(home), Home(tmp_path / "new")
    assert here.signing_key.read_bytes() == there.signing_key.read_bytes()
    assert here.signing_key.stat().st_mode & 0o077 == 0
    assert here.token("owner").read_bytes() == there.token("owner").read_bytes()
    assert "holds" in said(headway(tmp_path / "new", "release", "check", ids["release"]))


def test_without_secrets_none_is_in_it(lived_in: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    home, _ = lived_in
    said(headway(home, "export", tmp_path / "out"))
    secrets = [file.read_bytes().strip() for file in (home / "tokens").iterdir() if file.name != "lock"]
    content = b"".join(file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert len(secrets) == 3
    assert not any(secret in content for secret in secrets)
    assert b"PRIVATE KEY" not in content


def test_wrong_turns(lived_in: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    home, _ = lived_in
    for arguments, exit_code, message in [
        (("--url", "http://127.0.0.1:1", "export", tmp_path / "x"), 2, "leave --url out"),
        (("import", tmp_path / "nothing"), 2, "import into a new home"),
        (("import", "mlflow", "nothing"), 2, "no MLflow"),
        (("import", "mlflow", "http://127.0.0.1:1"), 3, "does not answer"),
    ]:
        result = headway(home, *arguments)
        assert (result.exit_code, message in result.output) == (exit_code, True), result.output
    result = headway(tmp_path / "none", "export", tmp_path / "out")
    assert (result.exit_code, "there is no home" in result.output) == (2, True)


def test_others_read_it_in_ten_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As docs/export.md does."""
    client = hw.connect(home=tmp_path / "home")
    with hw.start_run("late", name="the best", capture=False) as run:
        for step in range(30):
            hw.log_metric("loss", 1 / (step + 1), step=step)
    client.close()
    manifest = json.loads(said(headway(tmp_path / "home", "export", tmp_path / "export", "--json")))
    assert manifest["files"]["tables/metric_points/00000.parquet"]["rows"] == 30
    [program] = fenced("docs/export.md", "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLARS_FMT_STR_LENGTH", "100")
    exec(program, {})
    shown = capsys.readouterr().out
    assert run.id in shown
    assert "the best" in shown
    assert "0.033333" in shown
