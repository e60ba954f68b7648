"""What the direct stores of datasets keep is row by row what those on SQLAlchemy keep."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.errors import AlreadyExists, Invalid, LedgerBroken
from headway.kernel.journal import Journal
from headway.kernel.ledger import verify
from headway.lifecycle.datasets.records import Dataset, DatasetVersion
from headway.lifecycle.datasets.store import DatasetStore, DatasetVersionStore
from headway.storage.sql.direct import DirectDatabase
from headway.storage.sql.direct_datasets import DirectDatasetStore, DirectDatasetVersionStore, DirectJournal
from headway.storage.sql.stores import open_stores
from headway.testing.memory import FrozenClock, counted_ids
from headway.testing.samples import samples
from tests.storage.conftest import Open

_TABLES = ("datasets", "dataset_versions", "ledger", "lineage", "events")
Writes = Callable[[Journal, DatasetStore, DatasetVersionStore], None]


@pytest.fixture
def direct(home: Path, reopen: Open) -> Iterator[DirectDatabase]:
    reopen()
    database = DirectDatabase.open(home / "headway.db", home / "ledger.head")
    assert database is not None
    yield database
    database.close()


def stores(database: DirectDatabase) -> tuple[DirectJournal, DirectDatasetStore, DirectDatasetVersionStore]:
    return DirectJournal(database, FrozenClock()), DirectDatasetStore(database), DirectDatasetVersionStore(database)


def made(number: int, **changes: Any) -> DatasetVersion:
    version: DatasetVersion = samples(counted_ids(), FrozenClock())["dataset_versions"]  # type: ignore[assignment]
    return version.but(id=f"dv_{number:026}", number=number, **changes)


def write(journal: Journal, datasets: DatasetStore, versions: DatasetVersionStore) -> None:
    line: Dataset = samples(counted_ids(), FrozenClock())["datasets"]  # type: ignore[assignment]
    with journal.act("ada", "dataset.add", why="because") as act:
        act.save(datasets, line)
        act.save(versions, made(1), came_from=["", "rn_1", "rn_2", "rn_1"])
        act.emit("DatasetVersionAdded", made(1).id, dataset="a", number=1, rows=2, skewed=False)
    with journal.act("ada", "dataset.tag") as act:
        act.save(datasets, line.but(tagged={"gold": 1}))
    for number in (2, 3):
        with journal.act("bea", "dataset.add") as act:
            act.save(versions, made(number, note="other", blob="b3:" + f"{number:064}"), came_from=[made(1).id])


def rows(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    connection = sqlite3.connect(database)
    found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in _TABLES}
    connection.close()
    return found


def test_rows_are_those_that_the_journal_writes(home: Path, reopen: Open, direct: DirectDatabase) -> None:
    write(*stores(direct))
    other = open_stores(home / "other.db", FrozenClock(), home / "other.head")
    write(other.journal, other.stores.datasets, other.stores.dataset_versions)
    other.engine.close()
    assert rows(home / "headway.db") == rows(home / "other.db")
    assert (home / "ledger.head").read_bytes() == (home / "other.head").read_bytes()
    assert verify(reopen().stores.ledger) == 5


def test_answers_are_those_of_the_stores(reopen: Open, direct: DirectDatabase) -> None:
    journal, datasets, versions = stores(direct)
    write(journal, datasets, versions)
    known = reopen().stores
    name, last = made(1).dataset, made(3).id
    line = known.datasets.all().items[0]
    asked: list[Callable[[DatasetStore, DatasetVersionStore], Any]] = [
        lambda d, v: d.named(line.name), lambda d, v: d.named("none"), lambda d, v: d.all(),
        lambda d, v: v.get(last), lambda d, v: v.get("dv_none"), lambda d, v: v.of(name), lambda d, v: v.of(name, 2),
        lambda d, v: v.of(name, 9), lambda d, v: v.of("none"), lambda d, v: v.holding(name, made(1).blob),
        lambda d, v: v.holding("none", made(1).blob), lambda d, v: v.list(), lambda d, v: v.list(name, limit=2),
        lambda d, v: v.list(name, limit=2, before=made(2).id), lambda d, v: v.list("none"),
    ]  # fmt: skip
    for ask in asked:
        assert ask(datasets, versions) == ask(known.datasets, known.dataset_versions)
    with pytest.raises(Invalid):
        versions.list(limit=0)


@pytest.mark.parametrize("broken", [made(1).but(id="dv_" + "9" * 26), made(4, note="\ud800")])
def test_an_act_that_fails_keeps_nothing(
    home: Path, reopen: Open, direct: DirectDatabase, broken: DatasetVersion
) -> None:
    journal, datasets, versions = stores(direct)
    write(journal, datasets, versions)
    before = rows(home / "headway.db")

    def attempt() -> None:
        with journal.act("ada", "dataset.add") as act:
            act.save(versions, made(5))
            act.emit("DatasetVersionAdded", made(5).id)
            act.save(versions, broken)

    with pytest.raises((AlreadyExists, Invalid)):
        attempt()
    assert rows(home / "headway.db") == before
    assert verify(reopen().stores.ledger) == 5


def test_a_store_writes_inside_an_act_only(direct: DirectDatabase) -> None:
    with pytest.raises(AssertionError):
        stores(direct)[2].put(made(1))


def test_nothing_is_written_behind_a_ledger_that_was_cut(home: Path, direct: DirectDatabase) -> None:
    write(*stores(direct))
    connection = sqlite3.connect(home / "headway.db")
    with connection:
        connection.execute("DELETE FROM ledger WHERE number = (SELECT max(number) FROM ledger)")
    connection.close()
    journal, _, versions = stores(direct)
    with pytest.raises(LedgerBroken), journal.act("ada", "dataset.add") as act:
        act.save(versions, made(7))
