"""Blobs in an object store: local files first, S3, GCS or Azure by the same calls."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from secrets import randbits
from threading import Lock
from typing import cast
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from headway.errors import BadSettings, LedgerBroken, NotFound, Unavailable, first_line
from headway.kernel.blobs import BlobsUsed, KeptBlob, blob_place, checked_digest, checked_part
from headway.kernel.records import digest as digest_of

_DISCARDED = "discarded/"
_COUNTED_FOR_S = 3600.0
_LOOKS = 6
_BLOB = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


class ObjectBlobStore:
    """A blob with digest `b3:<hex>` lies at `<hex[:2]>/<hex[2:]>` below the store's root, and below `discarded/` there
    once it is discarded. To move it is one rename in a folder; an object store copies it first and removes it then, so
    that it is in one place at least at every moment."""

    def __init__(self, store: ObjectStore, root: str | Path) -> None:
        """`root` is the folder, or the URL, that `store` was opened on."""
        self._store, self._root, self._local = store, root, isinstance(root, Path)
        self._counting, self._counted, self._counted_at = Lock(), BlobsUsed(), -math.inf
        self._named = set[str]()
        """Folders of blobs whose own names are on disk."""

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        while True:
            with _reached(self._root):
                if not self._intact(digest):
                    self._write(blob_place(digest), data)
                    self._count(len(data))
                if not isinstance(self._root, Path):
                    return digest
                with suppress(FileNotFoundError):  # it was discarded meanwhile: once more, then it is brought back
                    self._sync(self._root, blob_place(digest))
                    return digest

    def adopt(self, file: Path, digest: str) -> None:
        size = file.stat().st_size
        if not isinstance(self._root, Path):
            if not self.has(digest):
                with _reached(self._root), file.open("rb") as opened:
                    self._store.put(blob_place(digest), opened)
                self._count(size)
            file.unlink()
            return
        place = self._root / blob_place(checked_digest(digest))
        with _reached(self._root):
            known = self.has(digest)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.utime(file)
            sync_file(file)  # before it has the name that says what it holds
            try:
                file.replace(place)
            except OSError:  # another filesystem
                self._put_mapped(file, size)
                file.unlink()
                return
            for folder in (place.parent, self._root):
                sync_file(folder)
        if not known:
            self._count(size)

    def get(self, digest: str) -> bytes:
        data = self._read(digest)
        if data is None:
            raise NotFound(f"no blob {digest}", digest=digest)
        if digest_of(data) != digest:
            raise LedgerBroken(f"blob {digest} is not as it was written; restore it from a backup", digest=digest)
        return data

    def part(self, digest: str, start: int, length: int) -> bytes:
        place = blob_place(checked_digest(digest))
        with _reached(self._root):
            try:
                found = self._store.head(place)
            except (FileNotFoundError, NotFoundError):
                if not self._brought_back(digest):
                    raise NotFound(f"no blob {digest}", digest=digest) from None
                found = self._store.head(place)
            checked_part(start, length, found["size"])
            return bytes(self._store.get_range(place, start=start, length=length)) if length else b""

    def has(self, digest: str) -> bool:
        place = blob_place(checked_digest(digest))
        with _reached(self._root):
            if self._local and self._seen(place):
                return True
            try:
                self._store.head(place)
            except (FileNotFoundError, NotFoundError):
                return self._brought_back(digest)
            return True

    def delete(self, digest: str) -> None:
        """Remove the blob at once; one that is not there is as good as removed."""
        self._remove(blob_place(checked_digest(digest)))
        self.destroy(digest)

    def all(self) -> Iterator[KeptBlob]:
        return self._list("")

    def discard(self, digest: str) -> None:
        place = blob_place(checked_digest(digest))
        with _reached(self._root), suppress(FileNotFoundError, NotFoundError):
            if isinstance(self._root, Path):
                os.utime(self._root / place)  # before it moves: killed in between, it is only younger
            self._store.rename(place, _DISCARDED + place)

    def discarded(self) -> Iterator[KeptBlob]:
        return self._list(_DISCARDED)

    def destroy(self, digest: str) -> None:
        self._remove(_DISCARDED + blob_place(checked_digest(digest)))

    def used(self) -> BlobsUsed:
        if time.monotonic() - self._counted_at > _COUNTED_FOR_S:
            now = time.monotonic()
            sizes = [blob.size for below in ("", _DISCARDED) for blob in self._list(below)]
            with self._counting:  # what was put meanwhile may be counted twice or not, until it is counted anew
                self._counted, self._counted_at = BlobsUsed(objects=len(sizes), bytes=sum(sizes)), now
        return self._counted

    def _put_mapped(self, file: Path, size: int) -> None:
        if size == 0:  # an empty file cannot be mapped
            self.put(b"")
            return
        with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as v:
            self.put(cast(bytes, v))

    def _write(self, place: str, data: bytes) -> None:
        """In a folder without the store, whose threads a small blob would wait for longer than for the disk."""
        if not isinstance(self._root, Path):
            self._store.put(place, data)
            return
        path = self._root / place
        fresh = path.with_name(f"{path.name}#{randbits(62)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_bytes(data)
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    def _sync(self, root: Path, place: str) -> None:
        """Bring a file to disk as one of now, then the names that lead to it."""
        path, folder = f"{root}/{place}", place.partition("/")[0]
        os.utime(path)
        sync_file(path)
        sync_file(f"{root}/{folder}")
        if folder not in self._named:
            sync_file(root)
            self._named.add(folder)

    def _count(self, size: int) -> None:
        with self._counting:
            self._counted = BlobsUsed(objects=self._counted.objects + 1, bytes=self._counted.bytes + size)

    def address(self, digest: str) -> str:
        place = blob_place(checked_digest(digest))
        if not isinstance(self._root, Path):
            return f"{self._root.rstrip('/')}/{place}"
        if not (self._root / place).exists():
            self.has(digest)
        return str(self._root / place)

    def _list(self, below: str) -> Iterator[KeptBlob]:
        with _reached(self._root):
            for chunk in self._store.list(below.rstrip("/") or None):
                for found in chunk:
                    name = found["path"].removeprefix(below)
                    if _BLOB.fullmatch(name):  # an upload that was cut off leaves a file of another name
                        digest = "b3:" + name.replace("/", "")
                        yield KeptBlob(digest=digest, size=found["size"], at=found["last_modified"])

    def _remove(self, place: str) -> None:
        self._counted_at = -math.inf
        with _reached(self._root), suppress(FileNotFoundError, NotFoundError):
            self._store.delete(place)

    def _brought_back(self, digest: str) -> bool:
        """Whether it is among the blobs again; another may have brought it back, or put it anew, in between. One that
        is discarded once more after that is looked for again."""
        place = blob_place(digest)
        for _ in range(_LOOKS):
            if self._local and not self._seen(_DISCARDED + place) and not self._seen(place):
                continue
            for look in (lambda: self._store.rename(_DISCARDED + place, place), lambda: self._store.head(place)):
                with suppress(FileNotFoundError, NotFoundError):
                    look()
                    return True
        return False

    def _seen(self, place: str) -> bool:
        """Whether the folder has it: a look without the store, whose threads would take longer."""
        return os.path.exists(f"{self._root}/{place}")

    def _read(self, digest: str) -> bytes | None:
        place = blob_place(checked_digest(digest))
        with _reached(self._root):
            while True:
                try:
                    if isinstance(self._root, Path):
                        return (self._root / place).read_bytes()
                    return bytes(self._store.get(place).bytes())
                except (FileNotFoundError, NotFoundError):
                    if not self._brought_back(digest):
                        return None

    def _intact(self, digest: str) -> bool:
        """Whether it is kept whole: a loss of power may leave a name before its content."""
        data = self._read(digest)
        return data is not None and digest_of(data) == digest


def open_blobs(where: str | Path) -> ObjectBlobStore:
    """The blobs below a folder, which is made if it is missing, or at a URL such as `s3://bucket/prefix`."""
    if "://" not in str(where):
        root = Path(where).absolute()
        root.mkdir(parents=True, exist_ok=True)
        return ObjectBlobStore(LocalStore(root), root)
    try:
        return ObjectBlobStore(from_url(str(where)), str(where))
    except (BaseError, ValueError) as error:
        raise BadSettings(f"{urlsplit(str(where)).scheme}:// blobs cannot be opened: {first_line(error)}") from error


def sync_file(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _reached(root: str | Path) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        raise Unavailable(f"the blobs at {root} cannot be reached: {first_line(error)}") from error
