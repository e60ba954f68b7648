"""One remote: blobs that are written once, and versions of which each number is given to exactly one writer.

A version is written with the condition that its number is not taken (`If-None-Match: *`; in a folder, a link that fails
where the name is there). Nobody reads first and hopes: of many writers one wins, and the others try the next number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from blake3 import blake3
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

from headway.errors import LedgerBroken, NotFound, Unavailable, first_line
from headway.kernel.records import encode
from headway.lifecycle.datasets.records import DatasetVersion
from headway.storage.blobs import sync_file
from headway.storage.remotes import layout
from headway.storage.remotes.addresses import CHUNK_BYTES, Advance, open_store
from headway.storage.remotes.layout import RemoteVersion

_MOST_TRIES = 10_000


class Remote:
    def __init__(self, address: str, *, make: bool = True) -> None:
        """Raises `BadSettings` for an address that cannot be opened, `Invalid` for a place of another format."""
        self.address = address
        self._store = open_store(address, make=make)
        self._root = None if "://" in address else Path(address)
        self._begin(make)

    def _begin(self, make: bool) -> None:
        with self._reached():
            head = self._read(layout.HEAD)
            if head is None and make:
                self._create(layout.HEAD, encode(layout.Head()))
                head = self._read(layout.HEAD)
        if head is not None:
            layout.check_head(head, self.address)

    def has(self, digest: str, size: int | None) -> bool:
        """Whether a blob is there, of this size if it is known."""
        with self._reached():
            try:
                found = self._store.head(layout.blob_file(digest))
            except (FileNotFoundError, NotFoundError):
                return False
            return size is None or found["size"] == size

    def put(self, digest: str, source: Path | bytes) -> None:
        """Keep a blob; it is durable when this returns."""
        with self._reached():
            if isinstance(source, bytes):
                self._store.put(layout.blob_file(digest), source)
            else:
                with source.open("rb") as file:
                    self._store.put(layout.blob_file(digest), file)
            self._sync(layout.blob_file(digest))

    def fetch(self, digest: str, target: Path, advance: Advance) -> int:
        """Write a blob to a new file `target`, proven; returns its size."""
        hasher, size = blake3(), 0
        try:
            with self._reached(), target.open("xb") as file:
                for chunk in self._store.get(layout.blob_file(digest)).stream(CHUNK_BYTES):
                    hasher.update(chunk)
                    size += file.write(chunk)
                    advance(len(chunk))
            if f"b3:{hasher.hexdigest()}" != digest:
                raise LedgerBroken(f"blob {digest} in {self.address} is not as it was written; push it again")
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return size

    def versions(self, name: str) -> list[RemoteVersion]:
        """Every version of a dataset, oldest first."""
        with self._reached():
            listed = [found["path"] for chunk in self._store.list(layout.version_folder(name)) for found in chunk]
            numbers = sorted(number for path in listed if (number := layout.number_of(path)) is not None)
        return [self.version(name, number) for number in numbers]

    def version(self, name: str, number: int) -> RemoteVersion:
        where = layout.version_file(name, number)
        with self._reached():
            data = self._read(where)
        if data is None:
            raise NotFound(f"{self.address} has no {name}@{number}")
        return layout.read_version(data, f"{where} in {self.address}")

    def commit(self, version: DatasetVersion) -> RemoteVersion:
        """Write a version under its own number if that is free, else under the first behind all that are taken.

        One that holds the same and is there already is returned instead. Whatever others write meanwhile stays.
        """
        token, number = token_hex(16), version.number
        known = self.versions(version.dataset)
        for _ in range(_MOST_TRIES):
            if same := next((each for each in known if each.same_as(version)), None):
                return same
            taken = known[-1].number if known else 0
            number = max(number, taken + 1)
            offered = layout.remote_version(version, number, token)
            if self.try_commit(offered):
                return offered
            known = [self.version(version.dataset, number)]
        raise Unavailable(f"{self.address} is too busy to take {version.label}; push it again")

    def try_commit(self, offered: RemoteVersion) -> bool:
        """Write a version under its number; False when another has that, and nothing is changed."""
        where = layout.version_file(offered.dataset, offered.number)
        with self._reached():
            if not self._create(where, encode(offered)):
                # The request may have been sent twice, and the first have arrived: then it is our own.
                return self.version(offered.dataset, offered.number).token == offered.token
            self._sync(where)
        return True

    def _create(self, where: str, data: bytes) -> bool:
        try:
            self._store.put(where, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def _read(self, where: str) -> bytes | None:
        try:
            return bytes(self._store.get(where).bytes())
        except (FileNotFoundError, NotFoundError):
            return None

    def _sync(self, where: str) -> None:
        """Bring a file in a folder to disk, with the names that lead to it; an object store has done so."""
        path = self._root and self._root / where
        while path:
            sync_file(path)
            path = path.parent if path != self._root else None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotFoundError) as error:
            raise NotFound(f"{self.address} lacks what it should have: {first_line(error)}") from error
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise Unavailable(
                f"{self.address} does not let us in ({first_line(error)}); credentials are taken from the provider's "
                "own variables and files"
            ) from error
        except (BaseError, OSError) as error:
            raise Unavailable(f"{self.address} cannot be reached: {first_line(error)}") from error
