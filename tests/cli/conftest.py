from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headway.cli.invocation import Invocation
from headway.cli.main import main
from headway.kernel.access import Role
from tests.client.conftest import client_of
from tests.server.world import World, deliver, open_world

Headway = Callable[..., Result]


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
def headway(delivered: tuple[World, dict[str, str]]) -> Headway:
    """Runs a command as one of the roles, the owner if none is named."""

    def run(*arguments: str, role: Role = Role.OWNER) -> Result:
        return CliRunner().invoke(main, arguments, obj=Invocation(client_of(delivered[0], role)))

    return run


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Headway:
    """Runs a command in an empty folder, with nothing to connect to."""
    for name in ("HEADWAY_HOME", "HEADWAY_URL", "HEADWAY_TOKEN", "HEADWAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, arguments)
