from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from headway.kernel.access import Role
from tests.server.world import World, open_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    opened = open_world(
        tmp_path_factory.mktemp("mlflow") / ".headway", most_json_bytes=400_000, most_blob_bytes=500_000
    )
    yield opened
    opened.close()


@pytest.fixture
def author(world: World) -> Iterator[httpx2.Client]:
    with world.client(Role.AUTHOR) as client:
        yield client
