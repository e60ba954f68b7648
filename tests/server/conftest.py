from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.world import World, deliver, open_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Nothing in it yet but tokens; tests give their things names of their own."""
    opened = open_world(tmp_path_factory.mktemp("world") / ".headway", most_json_bytes=100_000, most_blob_bytes=200_000)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, str]]]:
    """One change has gone all the way; its ids by what they are of."""
    opened = open_world(tmp_path_factory.mktemp("delivered") / ".headway")
    yield opened, deliver(opened)
    opened.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / ".headway"
