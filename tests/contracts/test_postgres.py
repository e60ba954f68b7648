"""What is particular to PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from headway.errors import Invalid, LedgerBroken
from headway.kernel.ledger import verify
from headway.kernel.patience import PATIENCE, Patience
from headway.lifecycle.runs.records import Experiment
from headway.storage.sql.stores import Opened, open_stores
from headway.storage.sql.tables import METADATA
from headway.testing.memory import FrozenClock
from tests.contracts.conftest import empty


@pytest.fixture
def two(postgres_url: str, postgres: Opened, tmp_path: Path) -> Iterator[list[Opened]]:
    """The same database opened twice, as by two processes of one home."""
    empty(postgres)
    opened = [open_stores(postgres_url, FrozenClock(), tmp_path / "ledger.head") for _ in range(2)]
    yield opened
    for each in opened:
        each.engine.close()


def _add(opened: Opened, name: str) -> None:
    with opened.journal.act("ada", "experiment.add") as act:
        act.save(opened.stores.experiments, Experiment(id=f"ex_{name}", created_at=FrozenClock().now(), name=name))


def test_a_read_is_stopped_from_another_thread(postgres: Opened) -> None:
    patience = Patience()
    before = PATIENCE.set(patience)
    try:
        threading.Timer(0.1, patience.end, [Invalid("nobody waits")]).start()
        with pytest.raises(Invalid, match="nobody waits"), postgres.engine.reading() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(60)")
    finally:
        PATIENCE.reset(before)
    with postgres.engine.reading() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_migrations_lead_to_the_tables_of_the_code(postgres: Opened) -> None:
    with postgres.engine.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_processes_write_one_after_the_other(two: list[Opened]) -> None:
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait(10)
        for each in range(10):
            _add(two[number % 2], f"{number}-{each}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    for opened in two:
        assert verify(opened.stores.ledger) == 40
        anchor = opened.stores.ledger.anchor()
        assert anchor is not None
        assert anchor.number == 40


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE experiments SET name = 'changed' WHERE name = 'a'", "is not as entry"),
        ("DELETE FROM ledger WHERE number = 2", "the tail is cut"),
        ("UPDATE ledger SET actor = 'bo' WHERE number = 1", "was changed"),
    ],
)
def test_tampering_is_found(two: list[Opened], statement: str, message: str) -> None:
    for name in ("a", "b"):
        _add(two[0], name)
    with two[1].engine.transaction() as transaction:
        transaction.connection.exec_driver_sql(statement)
    with pytest.raises(LedgerBroken, match=message):
        verify(two[0].stores.ledger)


def test_a_text_that_postgresql_does_not_take_is_invalid(two: list[Opened]) -> None:
    with pytest.raises(Invalid, match="cannot keep"):
        _add(two[0], "nul\0")
    assert two[0].stores.experiments.all().items == ()
    _add(two[0], "fine")
