"""Folders and remotes on the command line, each command in a process's worth of its own."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from headway.cli.main import main
from headway.kernel.records import encode
from headway.lifecycle.datasets.contract import ColumnRule, Contract, WhenSkewed
from headway.lifecycle.datasets.schema import Kind
from tests.client.files.conftest import tree, write

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in the home `a`, or in the one that is named; it has to end well unless `code` says otherwise."""
    for name in ("HEADWAY_HOME", "HEADWAY_URL", "HEADWAY_TOKEN", "HEADWAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for home in ("a", "b"):
        (tmp_path / home).mkdir()

    def run(*arguments: str, home: str = "a", code: int = 0) -> Result:
        done = CliRunner().invoke(main, [*arguments, "--home", str(tmp_path / home)])
        assert done.exit_code == code, done.output
        return done

    return run


def test_from_one_home_to_another_by_a_pointer(run: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"x/1": b"1", "x/2": b"2", "big": random.Random(1).randbytes(2_000_000)})
    assert "photos@1: 3 files" in run("dataset", "add", "photos", "data", "--pointer").output
    pointer = tmp_path / "data.dataset.toml"
    assert pointer.read_text().count("\n") < 10
    assert "data is photos@1: 3 files" in run("dataset", "status", "data").output
    run("remote", "add", "shared", "remote")
    assert str(tmp_path / "remote") in run("remote", "list").output
    assert "2 blobs" in run("dataset", "push", "photos").output
    assert "0 blobs" in run("dataset", "push", "photos").output

    clone = tmp_path / "clone"
    clone.mkdir()
    pointer = pointer.rename(clone / pointer.name)
    assert "no remote yet" in run("dataset", "pull", str(pointer), home="b", code=2).output
    run("remote", "add", "shared", "remote", home="b")
    assert "3 files written" in run("dataset", "pull", str(pointer), home="b").output
    assert tree(clone / "data") == tree(data)
    write(clone / "data", {"x/1": b"other", "x/3": b"3"})
    os.unlink(clone / "data" / "x" / "2")
    status = run("dataset", "status", str(clone / "data"), home="b").output
    assert [line.split() for line in status.splitlines()[1:]] == [
        ["added", "x/3"],
        ["changed", "x/1"],
        ["removed", "x/2"],
    ]
    assert "'x/1'" in run("dataset", "pull", str(pointer), home="b", code=2).output
    run("dataset", "add", "photos", str(clone / "data"), home="b")
    run("dataset", "push", "photos", home="b")
    assert "photos@2 here" in run("dataset", "fetch", "photos").output
    run("dataset", "checkout", "photos", "out")
    assert tree(tmp_path / "out") == tree(clone / "data")
    assert "1 added, 1 changed, 0 moved, 1 removed" in run("dataset", "diff", "photos@1", "photos").output
    assert run("remote", "remove", "shared").output.startswith("shared is forgotten")


def test_one_file_beside_others(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / "docs", {"one.md": b"one", "two.md": b"two", "other": b""})
    for name in ("one", "two"):
        run("dataset", "add", name, f"docs/{name}.md", "--pointer")
        (folder / f"{name}.md").unlink()
    run("dataset", "pull", "docs/one.md.dataset.toml", "docs/two.md.dataset.toml")
    assert {name: data for name, (data, _) in tree(folder).items() if "toml" not in name} == {
        "one.md": b"one", "two.md": b"two", "other": b"",
    }  # fmt: skip
    write(folder, {"one.md": b"newer"})
    run("dataset", "add", "one", "docs/one.md")
    run("dataset", "pull", "docs/one.md.dataset.toml")
    assert (folder / "one.md").read_bytes() == b"one"


def test_tables_tags_and_removal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "u.csv").write_text("a,b\n3,x\n")
    run("dataset", "add", "t", "t.csv")
    assert "t@2: 3 rows" in run("dataset", "append", "t", "u.csv").output
    assert "rows: 2 -> 3" in run("dataset", "diff", "t@1", "t").output
    run("dataset", "tag", "t@1", "gold")
    shown = json.loads(run("dataset", "show", "t@gold", "--json").output)
    assert shown["number"] == 1
    log = run("dataset", "log", "t").output
    assert "gold" in log
    run("remote", "add", "r", "remote")
    run("dataset", "push", "t")
    run("remote", "add", "r", "remote", home="b")
    run("dataset", "fetch", "t", home="b")
    there, here = (json.loads(run("dataset", "show", "t", "--json", home=home).output) for home in "ab")
    assert (there["blob"], there["rows"], there["parts"]) == (here["blob"], here["rows"], here["parts"])
    run("dataset", "untag", "t", "gold")
    run("dataset", "show", "t@gold", code=2)
    for shorter in (False, True):
        run("dataset", "rm" if shorter else "delete", "t@2")
        assert json.loads(run("dataset", "show", "t", "--json").output)["number"] == 1
        run("dataset", "restore", "t@2")
    run("dataset", "rm", "t@1", "--purge", "asked for", code=1)  # t@2 came from it
    run("dataset", "delete", "t@2")
    assert "is purged" in run("dataset", "purge", "t@2", "--why", "asked for").output
    assert "is purged" in run("dataset", "rm", "t@1", "--purge", "asked for").output


def test_a_table_that_grew_is_added_whole(run: Run, tmp_path: Path) -> None:
    grown = pl.DataFrame({"x": np.random.default_rng(1).random(20_200)})
    grown.head(20_000).write_parquet(tmp_path / "t.parquet")
    assert "new" not in run("dataset", "add", "t", "t.parquet").output
    grown.write_parquet(tmp_path / "t.parquet")
    assert "t@2: 20,200 rows" in (said := run("dataset", "add", "t", "t.parquet").output)
    assert ", 200 rows and " in said
    assert run("dataset", "add", "t", "t.parquet").output == said  # the version that is there
    newest, _, first = run("dataset", "log", "t").output.partition("t@1")
    assert (" 200 " in newest, "20,000" in first) == (True, True)
    run("remote", "add", "r", "remote")
    run("dataset", "push", "t@1")
    kept = sum(path.stat().st_size for path in (tmp_path / "remote").rglob("*") if path.is_file())
    run("dataset", "push", "t")
    assert sum(path.stat().st_size for path in (tmp_path / "remote").rglob("*") if path.is_file()) < 1.1 * kept
    run("remote", "add", "r", "remote", home="b")
    run("dataset", "fetch", "t", home="b")
    there, here = (json.loads(run("dataset", "show", "t", "--json", home=home).output) for home in "ab")
    for name in ("blob", "parts", "together", "profile", "rows", "schema"):
        assert there[name] == here[name]


def test_wrong_turns(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "data", {"x": b"1"})
    for arguments, said in {
        ("dataset", "add", "d", "nowhere"): "nowhere",
        ("dataset", "add", "d", "data", "--contract", "data/x"): "contract",
        ("dataset", "add", "d", "s3://key:secret@bucket/x"): "no user, password",
        ("dataset", "status", "data"): "--against",
        ("dataset", "checkout", "nobody", "out"): "nobody",
        ("dataset", "pull", "data/x"): "no pointer",
        ("dataset", "push", "nobody"): "nobody",
        ("remote", "add", "r", "ftp://host/x"): "no remote",
        ("remote", "remove", "r"): "remote",
        ("dataset", "tag", "nobody", "gold"): "nobody",
    }.items():
        output = run(*arguments, code=2).output
        assert said in output, (arguments, output)
        assert "secret" not in output
    assert "'x/" not in run("dataset", "add", "d", "data").output
    listed = run("dataset", "files", "d").output.split()
    assert (listed[1], listed[2], len(listed)) == ("1", "x", 3)


def test_skew_of_values_is_told(run: Run, tmp_path: Path) -> None:
    rules = Contract(columns=(ColumnRule(name="a", kind=Kind.INT, high=5),), when_skewed=WhenSkewed.CHANGE)
    (tmp_path / "rules.json").write_bytes(encode(rules))
    (tmp_path / "good.csv").write_text("a\n1\n")
    (tmp_path / "skewed.csv").write_text("a\n9\n")
    (tmp_path / "text.csv").write_text("a\nx\n")
    run("dataset", "add", "t", "good.csv", "--contract", "rules.json")
    said = "column 'a' breaks rule 'high': expected <= 5, found 9"
    assert f"Warning: {said}" in run("dataset", "add", "t", "skewed.csv").output
    assert said in run("dataset", "show", "t").output
    log = run("dataset", "log", "t").output.splitlines()
    assert ["a high" in line for line in log] == [False, True, False]
    assert "breaks rule 'kind'" in run("dataset", "add", "t", "text.csv", code=1).output
    assert "open a change" in run("dataset", "contract", "t", "--markdown").output
