from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headway.client.client import Client
from headway.client.http import Connection
from headway.kernel.access import Role
from tests.server.world import Unclosed, World, deliver, open_world

As = Callable[[Role], Client]


def client_of(world: World, role: Role) -> Client:
    return Client(Connection("http://localhost", world.secrets[role], transport=Unclosed(world.transport)))


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, str]]]:
    """A world in which one change has gone all the way; its ids by what they are of."""
    world = open_world(tmp_path_factory.mktemp("delivered") / ".headway")
    yield world, deliver(world)
    world.close()


@pytest.fixture(scope="session")
def ids(delivered: tuple[World, dict[str, str]]) -> dict[str, str]:
    return delivered[1]


@pytest.fixture(scope="session")
def client_as(delivered: tuple[World, dict[str, str]]) -> As:
    return lambda role: client_of(delivered[0], role)


@pytest.fixture(scope="session")
def owner(client_as: As) -> Client:
    return client_as(Role.OWNER)


@pytest.fixture(scope="session")
def author(client_as: As) -> Client:
    return client_as(Role.AUTHOR)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "owner").write_text("hw_owner\n")
    return tmp_path
