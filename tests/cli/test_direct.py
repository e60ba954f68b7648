"""Files are added and checked out over the database itself where no server runs, and as over one otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headway import sdk
from headway.cli.direct import DirectLine, datasets_of
from headway.cli.invocation import Invocation
from headway.cli.main import main

Headway = Callable[..., Result]
_LIGHT = """
import sys
from headway.cli.main import main
try:
    main()
except SystemExit as ended:
    heavy = {"litestar", "sqlalchemy", "polars", "httpx2"} & sys.modules.keys()
    sys.exit(f"imported {heavy}" if heavy else ended.code)
"""


@pytest.fixture
def headway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Headway:
    for name in ("HEADWAY_HOME", "HEADWAY_URL", "HEADWAY_TOKEN", "HEADWAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headway.toml").write_text('[project]\nname = "direct"\n')
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "one").write_bytes(b"1")
    (tmp_path / "data" / "sub" / "two").write_bytes(os.urandom(3 << 20))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    assert run("dataset", "list").exit_code == 0  # makes the home
    return run


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("headway")
def test_adding_and_checking_out_import_no_platform(tmp_path: Path) -> None:
    for arguments in (
        ("dataset", "add", "photos", "data"), ("dataset", "checkout", "photos", "out"), ("dataset", "status", "out"),
    ):  # fmt: skip
        done = subprocess.run([sys.executable, "-c", _LIGHT, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "sub" / "two").read_bytes() == (tmp_path / "data" / "sub" / "two").read_bytes()


def test_versions_are_those_of_the_platform(headway: Headway, tmp_path: Path) -> None:
    """What was added directly goes on over the platform and back; the ledger holds through all of it."""
    first = said(headway("dataset", "add", "photos", "data", "--note", "mine", "--json"))
    assert (first["number"], first["files"], first["note"]) == (1, 2, "mine")
    assert said(headway("dataset", "add", "photos", "data", "--json"))["id"] == first["id"]
    (tmp_path / "data" / "one").write_bytes(b"other")
    with sdk.open_client(home=tmp_path / ".headway") as client:
        assert client.datasets.version("photos").id == first["id"]
        assert client.datasets.add_files("photos", tmp_path / "data").number == 2
    assert headway("dataset", "tag", "photos@1", "gold").exit_code == 0
    (tmp_path / "data" / "one").write_bytes(b"third")
    third = said(headway("dataset", "add", "photos", "data", "--json"))
    assert third["number"] == 3
    assert third["stored"] < 10_000
    for reference, content in (("photos@gold", b"1"), ("photos@2", b"other"), (third["id"], b"third")):
        assert headway("dataset", "checkout", reference, "out").exit_code == 0
        assert (tmp_path / "out" / "one").read_bytes() == content
    assert "hold" in headway("ledger", "verify").stdout


def test_a_token_that_was_revoked_and_a_quota_hold(headway: Headway, tmp_path: Path) -> None:
    (tmp_path / "headway.toml").write_text('[project]\nname = "direct"\n[quotas]\nblob_bytes = 100000\n')
    assert headway("project", "apply").exit_code == 0
    done = headway("dataset", "add", "photos", "data")
    assert done.exit_code != 0
    assert "quota" in done.stderr
    (tmp_path / "headway.toml").write_text('[project]\nname = "direct"\n')
    assert headway("project", "apply").exit_code == 0
    assert headway("dataset", "add", "photos", "data").exit_code == 0
    assert headway("token", "revoke", "owner").exit_code == 0
    for arguments in (("add", "photos", "data"), ("checkout", "photos", "out")):
        assert headway("dataset", *arguments).exit_code != 0
    assert not (tmp_path / "out").exists()


def test_refusals_are_those_of_the_platform(headway: Headway, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    assert headway("dataset", "add", "orders", "rows.csv").exit_code == 0
    assert "dataset of tables" in headway("dataset", "add", "orders", "data").stderr
    assert "no dataset version" in headway("dataset", "checkout", "photos", "out").stderr
    assert headway("dataset", "checkout", "photos", "out").exit_code == 2


def test_what_is_not_answered_directly_opens_the_platform(headway: Headway, tmp_path: Path) -> None:
    assert headway("dataset", "add", "photos", "data").exit_code == 0
    invocation = Invocation()
    invocation.home = str(tmp_path / ".headway")
    with datasets_of(invocation) as datasets:
        assert isinstance(datasets._connection, DirectLine)
        assert [each.path for each in datasets.files("photos")] == ["one", "sub/two"]
        assert datasets.version("photos").number == 1
