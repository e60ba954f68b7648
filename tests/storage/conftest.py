"""A home on SQLite that tests may damage, and come back to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.storage.sql.stores import Opened, open_stores
from headway.testing.memory import FrozenClock

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
