from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
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


class Place(NamedTuple):
    client: Client
    app: Application
    home: Path
    wire: Wire | None

    def stored(self) -> int:
        return sum(blob.size for blob in self.app.blobs.all())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is made once, and copied."""
    home = tmp_path_factory.mktemp("made") / ".headway"
    compose(Settings.of(home)).close()
    return home


@pytest.fixture(params=["here", "wire"])
def place(request: pytest.FixtureRequest, tmp_path: Path, made: Path) -> Iterator[Place]:
    """A platform, and a client that has it in its process, or elsewhere."""
    home = Path(shutil.copytree(made, tmp_path / ".headway"))
    app = compose(Settings.of(home))
    transport = LocalTransport(app)
    token = local_token(home)
    if request.param == "here":
        wire, folder = None, HomeFolder(home, shared=True)
        connection = Connection("http://localhost", token, transport=transport, place=folder)
    else:
        wire, folder = Wire(transport), HomeFolder(tmp_path / "elsewhere")
        connection = Connection("http://localhost", token, transport=wire, place=folder)
    client = Client(connection)
    yield Place(client, app, home, wire)
    client.close()
    transport.close()


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
