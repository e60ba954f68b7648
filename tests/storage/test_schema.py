"""Migrations: they lead to the tables that the code has, and are not run when there is nothing to do."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from headway.errors import BadSettings, Unavailable
from headway.storage.sql import migrations
from headway.storage.sql.schema import VERSION
from headway.storage.sql.stores import open_stores
from headway.storage.sql.tables import METADATA
from headway.testing.memory import FrozenClock
from tests.storage.conftest import Open


def _declared(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
        )
        return {name: " ".join(sql.split()) for name, sql in rows}


def test_migrations_lead_to_the_tables_of_the_code(home: Path, reopen: Open) -> None:
    with reopen().engine.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine = create_engine(f"sqlite:///{home / 'declared.db'}")
    METADATA.create_all(engine)
    engine.dispose()
    assert _declared(home / "headway.db") == _declared(home / "declared.db")


def test_the_version_of_the_code_is_the_newest_migration() -> None:
    assert ScriptDirectory(migrations.__path__[0]).get_heads() == [VERSION]


def test_a_newer_database_is_refused_and_left_alone(home: Path, reopen: Open) -> None:
    reopen().engine.close()
    with closing(sqlite3.connect(home / "headway.db", isolation_level=None)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    before = (home / "headway.db").read_bytes()
    with pytest.raises(Unavailable, match="upgrade Headway") as refused:
        reopen()
    assert refused.value.details == {"found": "9999", "known": VERSION}
    assert (home / "headway.db").read_bytes() == before


def test_opening_what_is_up_to_date_loads_no_migrations(home: Path, reopen: Open) -> None:
    reopen().engine.close()
    program = (
        "import sys; from pathlib import Path; from headway.kernel.clock import SystemClock;"
        "from headway.storage.sql.stores import open_stores;"
        f"open_stores({str(home / 'headway.db')!r}, SystemClock(), Path({str(home / 'ledger.head')!r}));"
        "sys.exit('alembic' in sys.modules or 'psycopg' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_a_file_that_is_no_database(home: Path, reopen: Open) -> None:
    (home / "headway.db").write_bytes(b"no database at all, but some text" * 50)
    with pytest.raises(Unavailable, match="SQLite"):
        reopen()


def test_a_folder_that_is_not_there(home: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_stores(home / "missing" / "headway.db", FrozenClock(), home / "ledger.head")


@pytest.mark.parametrize("url", ["mysql://localhost/headway", "postgresql://localhost", "x://"])
def test_an_url_that_leads_nowhere(home: Path, url: str) -> None:
    with pytest.raises(BadSettings):
        open_stores(url, FrozenClock(), home / "ledger.head")


def test_a_postgresql_that_does_not_answer(home: Path) -> None:
    with pytest.raises(Unavailable):
        open_stores(f"postgresql://nobody@/none?host={home}", FrozenClock(), home / "ledger.head")
