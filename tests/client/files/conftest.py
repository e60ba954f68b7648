from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from headway.client.client import Client
from headway.client.home import HomeFolder
from headway.client.http import Connection
from headway.server.app import Application, compose
from headway.server.local import LocalTransport, local_token
from headway.server.settings import Settings


class Wire(httpx2.BaseTransport):
    """As over a socket: nothing of the platform can be reached but by requests, which are counted."""

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner, self.sent, self.received = inner, 0, 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent += int(request.headers.get("content-length", 0))
        response = self._inner.handle_request(request)
        self.received += len(response.read())
        return response


class Platform(NamedTuple):
    client: Client
    app: Application
    home: Path
    wire: Wire | None


class Place(NamedTuple):
    """`name` is of a dataset that no other test has."""

    client: Client
    app: Application
    wire: Wire | None
    name: str

    def stored(self) -> int:
        return sum(blob.size for blob in self.app.blobs.all())


@contextmanager
def opened(folder: Path, way: str) -> Iterator[Platform]:
    home = folder / ".headway"
    app = compose(Settings.of(home))
    transport = LocalTransport(app)
    token = local_token(home)
    if way == "here":
        wire, place = None, HomeFolder(home, shared=True)
        connection = Connection("http://localhost", token, transport=transport, place=place)
    else:
        wire, place = Wire(transport), HomeFolder(folder / "elsewhere")
        connection = Connection("http://localhost", token, transport=wire, place=place)
    client = Client(connection)
    yield Platform(client, app, home, wire)
    client.close()
    transport.close()


@pytest.fixture(scope="session")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Platform]]:
    """The platform with a client in its process, or elsewhere; each is opened once."""
    known: dict[str, Platform] = {}
    with ExitStack() as stack:

        def platform(way: str) -> Platform:
            if way not in known:
                known[way] = stack.enter_context(opened(tmp_path_factory.mktemp(way), way))
            return known[way]

        yield platform


_NUMBERS = count(1)


@pytest.fixture(params=["here", "wire"])
def place(request: pytest.FixtureRequest, platforms: Callable[[str], Platform]) -> Place:
    platform = platforms(request.param)
    return Place(platform.client, platform.app, platform.wire, f"things{next(_NUMBERS)}")


@pytest.fixture(params=["here", "wire"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """With nothing in it, for tests of what becomes of all blobs."""
    with opened(tmp_path, request.param) as platform:
        yield Place(platform.client, platform.app, platform.wire, "things")


def tree(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Path -> bytes and whether it is executable."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
