"""Delta Lake tables in and out, at each of their versions."""

from __future__ import annotations

import json
from pathlib import Path

import deltalake
import polars as pl
import pytest

from tests.cli.conftest import Headway

ROWS = pl.DataFrame({"shop": ["a", "b", None], "amount": [1.5, 2.0, 3.0], "n": [1, 2, 3]})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    ROWS.write_delta(tmp_path / "sales")
    ROWS.write_delta(tmp_path / "sales", mode="append")
    return tmp_path / "sales"


def test_a_table_is_added_at_any_of_its_versions(headway: Headway, table: Path) -> None:
    done = headway("dataset", "add", "delta-sales", str(table), "--json")
    assert done.exit_code == 0, done.output
    newest = json.loads(done.stdout)
    assert (newest["rows"], newest["note"]) == (6, f"delta:{deltalake.DeltaTable(str(table)).metadata().id}@1")
    zeroth = ["dataset", "add", "delta-sales", str(table), "--version", "0", "--json"]
    first = json.loads(headway(*zeroth, "--note", "x").stdout)
    assert (first["rows"], first["number"], first["note"].endswith("@0)")) == (3, 2, True)
    assert json.loads(headway(*zeroth).stdout)["id"] == first["id"]


def test_a_version_is_written_as_the_next_of_a_table(headway: Headway, table: Path, tmp_path: Path) -> None:
    headway("dataset", "add", "delta-out", str(table), "--version", "0")
    out = tmp_path / "out"
    assert "3 rows are version 0" in headway("dataset", "write-delta", "delta-out", str(out)).output
    assert pl.read_delta(str(out)).equals(ROWS)
    assert "3 rows are version 1" in headway("dataset", "write-delta", "delta-out@1", str(out)).output
    assert pl.read_delta(str(out)).equals(ROWS)
    assert deltalake.DeltaTable(str(out)).history(1)[0]["headway"].startswith("delta-out@1 dv_")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "x", "{table}", "--version", "9"], "cannot be read at version 9"),
        (["add", "x", "{folder}", "--version", "0"], "no Delta Lake table"),
        (["add", "x", "{file}", "--version", "0"], "no Delta Lake table"),
        (["write-delta", "flights", "{folder}"], "is there already and is no Delta Lake table"),
        (["write-delta", "flights", "{file}"], "is there already and is no Delta Lake table"),
    ],
)
def test_what_is_none_is_said(headway: Headway, table: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.csv").write_text("a\n1\n")
    places = {"table": table, "folder": tmp_path / "folder", "file": tmp_path / "folder" / "file.csv"}
    done = headway("dataset", *(each.format(**places) for each in arguments))
    assert done.exit_code == 2, done.output
    assert told in done.stderr


def test_a_damaged_table_is_refused(headway: Headway, table: Path) -> None:
    for each in (table / "_delta_log").iterdir():
        each.write_text("{")
    done = headway("dataset", "add", "damaged", str(table))
    assert done.exit_code == 2
    assert "cannot be read" in done.stderr
