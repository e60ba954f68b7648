"""A home on SQLite that tests may damage, and come back to; object stores that are started once for a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.storage.sql.stores import Opened, open_stores
from headway.testing.memory import FrozenClock
from tests.storage import object_stores

Open = Callable[[], Opened]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def reopen(home: Path) -> Iterator[Open]:
    """Opens the home again, as another process would; all is closed at the end."""
    opened: list[Opened] = []

    def open_home() -> Opened:
        opened.append(open_stores(home / "headway.db", FrozenClock(), home / "ledger.head"))
        return opened[-1]

    yield open_home
    for each in opened:
        each.engine.close()


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_stores.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as address:
        yield address


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_stores.azurite(tmp_path_factory.mktemp("azurite")) as address:
        yield address


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_stores.google(tmp_path_factory.mktemp("google")) as address:
        yield address
