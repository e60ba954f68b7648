"""A home moves from SQLite to PostgreSQL and back by an export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from headway.kernel.ledger import verify
from headway.kernel.records import encode
from headway.lifecycle.runs.curve import Curve
from headway.storage.sql.portable import PortableDatabase
from headway.storage.sql.stores import open_stores
from headway.storage.transfer.exporting import export_home
from headway.storage.transfer.importing import import_home
from headway.testing.memory import FrozenClock
from tests.server.world import World, deliver, open_world
from tests.storage.homes import small_home


@pytest.fixture
def lived_in(tmp_path: Path) -> Iterator[World]:
    """A home in which everything has happened once, and points besides."""
    world = open_world(tmp_path / "lived-in")
    ids = deliver(world)
    with world.application.journal.act("ada", "run.log"):
        steps = list(range(5000))
        curve = Curve(steps=steps, at_us=steps, values=[1 / (step + 1) for step in steps])
        world.application.stores.metrics.add({(ids["run"], "loss"): curve})
    yield world
    world.close()


def test_to_postgres_and_back(lived_in: World, postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE moved")
        url = postgres_url.replace(f"/{connection.info.dbname}?", "/moved?")
    with small_home(tmp_path / "lived-in") as here:
        first = export_home(here.portable, here.blobs, tmp_path / "first", {})
    moved = open_stores(url, FrozenClock(), tmp_path / "moved.head")
    try:
        there = PortableDatabase(moved.engine)
        with small_home(tmp_path / "blobs") as files:
            import_home(there, files.blobs, tmp_path / "first", lambda name, content: None)
            assert verify(there.ledger) == first.head.number
            second = export_home(there, files.blobs, tmp_path / "second", {})
        assert encode(second) == encode(first)
        with moved.journal.act("ada", "go on") as act:
            act.emit("RunEnded", "rn_1")
        assert moved.stores.events.after(0, 1000)[-1].subject == "rn_1"
    finally:
        moved.engine.close()
    with small_home(tmp_path / "back") as back:
        import_home(back.portable, back.blobs, tmp_path / "second", lambda name, content: None)
        assert encode(export_home(back.portable, back.blobs, tmp_path / "third", {})) == encode(first)
