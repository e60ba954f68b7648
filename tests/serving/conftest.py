"""Real model servers in processes of their own, on loopback, with tiny models trained here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.lifecycle.rollouts.routing import Route, RoutingTable
from tests.serving.processes import CONTRACT, SIGNATURE, Blobs, ControlPlane, Server, train


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="session")
def models(blobs: Blobs) -> tuple[str, str]:
    """Digests of two models that score differently."""
    return blobs.put(train(1)), blobs.put(train(2))


MakeTable = Callable[..., RoutingTable]


@pytest.fixture(scope="session")
def table(models: tuple[str, str]) -> MakeTable:
    """A table of the releases rl_a, and rl_b with the rest of the share when that is below 100."""

    def make(share: int = 100, *, generation: int = 1, **options: Any) -> RoutingTable:
        shares = [share] if share == 100 else [share, 100 - share]
        routes = tuple(
            Route(
                release=release,
                model="late",
                version=version,
                blob=models[version - 1],
                signature=SIGNATURE,
                percent=percent,
                contract=CONTRACT,
            )
            for version, (release, percent) in enumerate(zip(("rl_a", "rl_b"), shares, strict=False), 1)
        )
        return RoutingTable(deployment="flights", generation=generation, routes=routes, **options)

    return make


StartServer = Callable[..., Server]


@pytest.fixture(scope="session")
def start_server(blobs: Blobs, table: MakeTable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    started: list[Server] = []

    def start(first: RoutingTable | bytes | None = None, *options: str, folder: Path | None = None) -> Server:
        server = Server(folder or tmp_path_factory.mktemp("server"), blobs, *options)
        server.route(first if first is not None else table())
        started.append(server)
        return server.start()

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def server(start_server: StartServer) -> Server:
    """Shared by the tests that only ask; keeps its segments."""
    return start_server()


@pytest.fixture(scope="session")
def traffic(start_server: StartServer) -> Server:
    """Shared by the tests that change the table; each begins with `reroute`."""
    return start_server()


@pytest.fixture(scope="session")
def small(start_server: StartServer) -> Server:
    """Takes bodies of up to 1,000 bytes, and keeps 5 rows in memory."""
    return start_server(None, "--body-bytes", "1000", "--capture-rows", "5")


@pytest.fixture
def control() -> Iterator[ControlPlane]:
    plane = ControlPlane()
    yield plane
    plane.close()
