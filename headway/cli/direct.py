"""`headway dataset` for files where no server runs: the database and the blobs of the home are used directly, and
whatever takes long to import is left alone. What is asked beyond that opens the whole platform."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httpx2
import msgspec

from headway.client.datasets import Datasets
from headway.client.home import HomeFolder, find_home, owner_token, running_server
from headway.client.http import Connection
from headway.errors import NotFound
from headway.kernel.access import Actor
from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.kernel.records import encode
from headway.lifecycle.datasets.files import DatasetFileService
from headway.lifecycle.datasets.lines import DatasetLines
from headway.lifecycle.datasets.pack import FOOT_BYTES
from headway.lifecycle.datasets.records import AddFiles, Pack
from headway.storage.blobs import ObjectBlobStore, open_blobs
from headway.storage.sql.direct import DirectDatabase
from headway.storage.sql.direct_datasets import DirectDatasetStore, DirectDatasetVersionStore, DirectJournal

if TYPE_CHECKING:
    from headway.cli.invocation import Invocation

_VERSIONS, _PACKS, _FILES, _BLOBS = "/v1/datasets/versions", "/v1/datasets/packs", "/v1/datasets/files", "/v1/blobs/"
_URL = "http://localhost"
Whole = Callable[[], httpx2.BaseTransport]


@contextmanager
def datasets_of(invocation: Invocation) -> Iterator[Datasets]:
    """The datasets of the home, over its database if that can be, or those of the server."""
    home = find_home(invocation.home)
    transport = _opened(home) if invocation.may_be_direct else None
    if transport is None:
        yield invocation.client.datasets
        return
    place = HomeFolder(home, shared=True)
    connection = Connection(_URL, owner_token(home), transport=transport, place=place)
    try:
        yield Datasets(connection)
    finally:
        connection.close()


def _opened(home: Path) -> DirectTransport | None:
    """None with a server, another token, a quota that has to be counted, or a database that is to be made first."""
    if os.environ.get("HEADWAY_URL") or os.environ.get("HEADWAY_TOKEN") or running_server(home):
        return None
    database = DirectDatabase.open(home / "headway.db", home / "ledger.head")
    if database is None:
        return None
    actor = database.actor(owner_token(home), SystemClock().now())
    if actor is None or database.quota("blob_bytes") is not None:
        database.close()
        return None
    return DirectTransport(database, open_blobs(home / "blobs"), actor, lambda: _whole(home))


def _whole(home: Path) -> httpx2.BaseTransport:
    from headway.server.local import local_transport  # noqa: PLC0415

    return local_transport(home)


class DirectTransport(httpx2.BaseTransport):
    """Answers what adding files and checking them out ask, by the services that a server has; `whole` opens what
    answers everything else. Errors come as they are."""

    def __init__(self, database: DirectDatabase, blobs: ObjectBlobStore, by: Actor, whole: Whole) -> None:
        clock = SystemClock()
        self._lines = DatasetLines(
            DirectDatasetStore(database), DirectDatasetVersionStore(database), clock, time_sorted(clock)
        )  # fmt: skip
        self._service = DatasetFileService(DirectJournal(database, clock), self._lines, blobs)
        self._database, self._blobs, self._by = database, blobs, by
        self._opens, self._whole = whole, list[httpx2.BaseTransport]()
        self._written: dict[str, Pack] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._answer(request.method, request.url.path, dict(request.url.params), request)
        if answer is not None:
            return httpx2.Response(200, content=encode(answer))
        if not self._whole:
            self._whole.append(self._opens())
        return self._whole[0].handle_request(request)

    def _answer(self, method: str, path: str, query: Mapping[str, str], request: httpx2.Request) -> object:
        """None for what is not answered here."""
        if method == "POST" and path == _FILES:
            return self._service.add(msgspec.json.decode(request.read(), type=AddFiles), by=self._by)
        if method == "POST" and path == _PACKS:
            return self._proven(msgspec.json.decode(request.read(), type=dict[str, str])["blob"])
        if method == "GET" and path == _VERSIONS and query.keys() == {"dataset", "limit"}:
            return self._lines.versions(query["dataset"], limit=int(query["limit"]))
        if method == "GET" and path.startswith(_VERSIONS + "/") and path.count("/") == _VERSIONS.count("/") + 1:
            return self._lines.version(unquote(path.rpartition("/")[2]))
        if method == "HEAD" and path.startswith(_BLOBS):
            digest = unquote(path.removeprefix(_BLOBS))
            if not self._blobs.has(digest):
                raise NotFound(f"no blob {digest}")
            return {}
        return None

    def _proven(self, blob: str) -> Pack:
        """A pack that this process has written needs no proof: each piece is under the digest that it had then."""
        if blob in self._written:
            self._service.written_here(self._written[blob])
        return self._service.prove(blob, by=self._by)

    def adopt(self, file: Path, digest: str) -> None:
        """Keep a pack, under the digest that this process has found it to have. The file is gone then."""
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            foot = os.pread(opened.fileno(), FOOT_BYTES, size - FOOT_BYTES)
        self._blobs.adopt(file, digest)
        self._written[digest] = Pack(blob=digest, size=size, index=int.from_bytes(foot[:8], "big") + FOOT_BYTES)

    def close(self) -> None:
        for transport in self._whole:
            transport.close()
        self._database.close()
