"""`headway dataset` for files where no server runs: the database and the blobs of the home are used directly, and
whatever takes long to import is left alone. What is asked beyond that opens the whole platform."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

from headway.client.datasets import Datasets
from headway.client.home import HomeFolder, find_home, owner_token, running_server
from headway.kernel.access import Actor
from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.lifecycle.datasets.files import DatasetFileService
from headway.lifecycle.datasets.lines import DatasetLines
from headway.lifecycle.datasets.pack import FOOT_BYTES, tail_bytes
from headway.lifecycle.datasets.records import AddFiles, Pack
from headway.storage.blobs import open_blobs
from headway.storage.sql.direct import DirectDatabase
from headway.storage.sql.direct_datasets import DirectDatasetStore, DirectDatasetVersionStore, DirectJournal

if TYPE_CHECKING:
    from headway.cli.invocation import Invocation
    from headway.client.http import Connection

_VERSIONS, _PACKS, _FILES, _BLOBS = "/v1/datasets/versions", "/v1/datasets/packs", "/v1/datasets/files", "/v1/blobs/"
Answer = TypeVar("Answer")


@contextmanager
def datasets_of(invocation: Invocation) -> Iterator[Datasets]:
    """The datasets of the home, over its database if that can be, or those of the server."""
    line = _direct(find_home(invocation.home)) if invocation.may_be_direct else None
    if line is None:
        yield invocation.client.datasets
        return
    try:
        yield Datasets(line)
    finally:
        line.close()


def _direct(home: Path) -> DirectLine | None:
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
    return DirectLine(home, database, actor)


class DirectLine:
    """Answers what adding files and checking them out ask, by the services that a server has; anything else opens the
    whole platform, which answers from then on."""

    url = "http://localhost"

    def __init__(self, home: Path, database: DirectDatabase, by: Actor) -> None:
        clock = SystemClock()
        self._lines = DatasetLines(
            DirectDatasetStore(database), DirectDatasetVersionStore(database), clock, time_sorted(clock)
        )  # fmt: skip
        self._database, self._blobs, self._by = database, open_blobs(home / "blobs"), by
        self._service = DatasetFileService(DirectJournal(database, clock), self._lines, self._blobs)
        self._written: dict[str, Pack] = {}
        self._opened: Connection | None = None
        self.place = HomeFolder(home, shared=True)
        self.adopt: Callable[[Path, str], None] | None = self._keep

    def get(self, path: str, answer: type[Answer], **query: Any) -> Answer:
        if path == _VERSIONS and query.keys() == {"dataset", "limit"}:
            return cast(Answer, self._lines.versions(query["dataset"], limit=query["limit"]))
        if path.startswith(_VERSIONS + "/") and path.count("/") == _VERSIONS.count("/") + 1:
            return cast(Answer, self._lines.version(unquote(path.rpartition("/")[2])))
        return self._whole.get(path, answer, **query)

    def post(self, path: str, answer: type[Answer], body: Any = None, **query: Any) -> Answer:
        if path == _FILES and isinstance(body, AddFiles):
            return cast(Answer, self._service.add(body, by=self._by))
        if path == _PACKS:
            return cast(Answer, self._proven(body["blob"]))
        return self._whole.post(path, answer, body, **query)

    def exists(self, path: str) -> bool:
        if path.startswith(_BLOBS):
            return self._blobs.has(unquote(path.removeprefix(_BLOBS)))
        return self._whole.exists(path)

    def put(self, path: str, answer: type[Answer], body: bytes, media_type: str = "application/json") -> Answer:
        return self._whole.put(path, answer, body, media_type)

    def upload(self, path: str, answer: type[Answer], file: Path) -> Answer:
        return self._whole.upload(path, answer, file)

    def download(self, path: str, **query: Any) -> bytes:
        return self._whole.download(path, **query)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._database.close()

    @property
    def _whole(self) -> Connection:
        if self._opened is None:
            from headway.client.http import Connection  # noqa: PLC0415
            from headway.server.local import local_transport  # noqa: PLC0415

            home = self.place.folder
            self._opened = Connection(
                self.url, owner_token(home), transport=local_transport(home), place=self.place
            )  # fmt: skip
        return self._opened

    def _keep(self, file: Path, digest: str) -> None:
        """Keep a pack, under the digest that this process has found it to have. The file is gone then."""
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            foot = os.pread(opened.fileno(), FOOT_BYTES, size - FOOT_BYTES)
        self._blobs.adopt(file, digest)
        self._written[digest] = Pack(blob=digest, size=size, index=tail_bytes(foot))

    def _proven(self, blob: str) -> Pack:
        """A pack that this process has written needs no proof: each piece is under the digest that it had then."""
        if blob in self._written:
            self._service.written_here(self._written[blob])
        return self._service.prove(blob, by=self._by)
