"""Whoever changes the database behind the ledger's back is found out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import LedgerBroken
from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.kernel.ledger import verify
from headway.lifecycle.runs.records import Run
from headway.storage.sql.stores import Opened, open_stores
from headway.storage.sql.tables import METADATA
from headway.testing.memory import FrozenClock
from headway.testing.samples import samples
from tests.storage.conftest import Open

SEALED = sorted([*(table.name for table in METADATA.sorted_tables if table.info.get("kept")), "ledger"])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Opened]]:
    """A database with one record of each kind."""
    home = tmp_path_factory.mktemp("filled")
    opened = open_stores(home / "headway.db", FrozenClock(), home / "ledger.head")
    for name, record in samples(time_sorted(SystemClock()), FrozenClock()).items():
        with opened.journal.act("ada", f"{name}.add", why="a sample") as act:
            act.save(getattr(opened.stores, name), record, came_from=[f"from-{name}"])
    yield home / "headway.db", opened
    assert verify(opened.stores.ledger) == len(SEALED) - 1, "each change was undone"
    opened.engine.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_byte_changed_in_a_record_or_an_entry_is_found(filled: tuple[Path, Opened], data: st.DataObject) -> None:
    path, opened = filled
    table = data.draw(st.sampled_from(SEALED))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
        column = data.draw(st.sampled_from(columns))
        query = f'SELECT rowid, "{column}" FROM "{table}" WHERE length("{column}") > 0'
        rows = database.execute(query).fetchall()
        if not rows:
            return
        row, value = data.draw(st.sampled_from(rows))
        changed = _changed(value, data)
        write = f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?'
        try:
            database.execute(write, (changed, row))
            with pytest.raises(LedgerBroken):
                verify(opened.stores.ledger)
        finally:
            restored = changed if column == "number" and table == "ledger" else row
            database.execute(write, (value, restored))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE lineage SET parent = 'elsewhere' WHERE parent = 'from-runs'",
        "UPDATE lineage SET at = at + 1 WHERE parent = 'from-runs'",
        "DELETE FROM lineage WHERE parent = 'from-runs'",
        "INSERT INTO lineage VALUES ('rn_nobody', 'dv_nobody', 0)",
        "UPDATE ledger SET came_from = 'elsewhere' WHERE came_from = 'from-runs'",
    ],
)
def test_changed_lineage_is_found(filled: tuple[Path, Opened], change: str) -> None:
    path, opened = filled
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        kept = {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in ("lineage", "ledger")}
        assert database.execute(change).rowcount == 1
        with pytest.raises(LedgerBroken):
            verify(opened.stores.ledger)
        for table, rows in kept.items():
            database.execute(f"DELETE FROM {table}")
            places = ", ".join("?" * len(rows[0]))
            database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


def _changed(value: Any, data: st.DataObject) -> Any:
    if isinstance(value, int):
        return value + data.draw(st.integers(100, 1000))
    place = data.draw(st.integers(0, len(value) - 1))
    if isinstance(value, str):
        letter = data.draw(st.characters(codec="ascii", exclude_categories=["Cc"]).filter(lambda c: c != value[place]))
        return value[:place] + letter + value[place + 1 :]
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != value[place]))
    return value[:place] + bytes([byte]) + value[place + 1 :]


@pytest.fixture
def three(reopen: Open) -> Opened:
    opened = reopen()
    _save(opened, 3)
    return opened


def _save(opened: Opened, count: int) -> None:
    ids = time_sorted(SystemClock())
    for _ in range(count):
        record = Run(id=ids("rn"), created_at=FrozenClock().now(), experiment="late")
        with opened.journal.act("ada", "run.start") as act:
            act.save(opened.stores.runs, record)


def _damage(home: Path, *statements: str) -> None:
    with closing(sqlite3.connect(home / "headway.db", isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM runs WHERE rowid = 2", "no longer kept"),
        ("DELETE FROM ledger WHERE number = 2", "entry 2 is missing"),
        ("DELETE FROM ledger WHERE number = 3", "the tail is cut"),
        ("DELETE FROM ledger", "the tail is cut"),
        ("INSERT INTO experiments SELECT id || '0', 'x', body FROM runs LIMIT 1", "in no entry"),
        ("UPDATE runs SET state = 'finished'", "is not as entry"),
        ("UPDATE ledger SET why = 'another reason' WHERE number = 1", "was changed"),
    ],
)
def test_what_was_done_is_named(three: Opened, home: Path, statement: str, message: str) -> None:
    _damage(home, statement)
    with pytest.raises(LedgerBroken, match=message):
        verify(three.stores.ledger)


CUT = (
    "DELETE FROM runs WHERE id = (SELECT subject FROM ledger WHERE number = 3)",
    "DELETE FROM ledger WHERE number = 3",
)


@pytest.mark.parametrize("restarted", [False, True])
def test_nothing_is_written_over_a_cut_tail(three: Opened, home: Path, reopen: Open, restarted: bool) -> None:
    _damage(home, *CUT)
    opened = reopen() if restarted else three
    with pytest.raises(LedgerBroken, match="nothing more is written"):
        _save(opened, 1)
    with pytest.raises(LedgerBroken, match="tail is cut"):
        verify(opened.stores.ledger)


def test_a_rewritten_tail_is_told_from_the_anchored_one(three: Opened, home: Path, reopen: Open) -> None:
    anchor = (home / "ledger.head").read_bytes()
    _damage(home, *CUT)
    (home / "ledger.head").unlink()
    rewritten = reopen()
    _save(rewritten, 1)
    assert verify(rewritten.stores.ledger) == 3
    (home / "ledger.head").write_bytes(anchor)
    with pytest.raises(LedgerBroken, match="not the one that was anchored"):
        verify(rewritten.stores.ledger)
    with pytest.raises(LedgerBroken, match="nothing more is written"):
        _save(reopen(), 1)


def test_an_anchor_that_lags_behind_verifies_and_catches_up(three: Opened, home: Path, reopen: Open) -> None:
    lagging = (home / "ledger.head").read_bytes()
    _save(three, 2)
    (home / "ledger.head").write_bytes(lagging)
    opened = reopen()
    assert verify(opened.stores.ledger) == 5
    _save(opened, 1)
    anchor = opened.stores.ledger.anchor()
    assert anchor is not None
    assert anchor.number == 6


def test_a_damaged_anchor_is_told(three: Opened, home: Path) -> None:
    (home / "ledger.head").write_bytes(b'{"number":')
    with pytest.raises(LedgerBroken, match="damaged"):
        verify(three.stores.ledger)


def test_an_older_process_does_not_turn_the_anchor_back(three: Opened, home: Path, reopen: Open) -> None:
    other = reopen()
    _save(other, 2)
    newest = (home / "ledger.head").read_bytes()
    three.engine.anchor.advance(three.stores.ledger.anchor().but(number=4))  # type: ignore[union-attr]
    assert (home / "ledger.head").read_bytes() == newest
