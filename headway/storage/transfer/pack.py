"""A folder or a tar file of named files, written once and read back."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Protocol

from blake3 import blake3

from headway.errors import Conflict, Invalid, NotFound
from headway.storage.transfer.layout import Content

_CHUNK_BYTES = 1 << 20


class Writer(Protocol):
    def add(self, name: str, chunks: Iterable[bytes]) -> Content: ...


class Reader(Protocol):
    def open(self, name: str) -> IO[bytes]:
        """Raises `NotFound` naming a file that is missing."""
        ...


class FolderWriter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, chunks: Iterable[bytes]) -> Content:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("wb") as file:
            return _written(file, chunks)


class TarWriter:
    """Two exports of the same home are the same bytes: nothing but names and contents goes into the file."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, chunks: Iterable[bytes]) -> Content:
        with NamedTemporaryFile(prefix="headway-export-") as file:
            content = _written(file, chunks)
            file.seek(0)
            head = tarfile.TarInfo(name)
            head.size, head.mode = content.size, 0o600
            self._tar.addfile(head, file)
        return content


class FolderReader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> IO[bytes]:
        try:
            return (self._folder / name).open("rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(f"{name} is missing from the export {self._folder}") from error


class TarReader:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name: member for member in tar.getmembers() if member.isfile()}

    def open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        opened = None if member is None else self._tar.extractfile(member)
        if opened is None:
            raise NotFound(f"{name} is missing from the export {self._tar.name!r}")
        return opened


@contextmanager
def writing(place: Path) -> Iterator[Writer]:
    """A writer to a new folder, or to a file that ends in .tar; what was cut off has no manifest.

    Raises `Conflict` for a place that is taken.
    """
    if place.suffix == ".tar":
        if place.exists():
            raise Conflict(f"{place} is there already; choose another name")
        unfinished = place.with_name(place.name + ".unfinished")
        with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
            yield TarWriter(tar)
        unfinished.replace(place)
        return
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise Conflict(f"{place} is there already, and not empty; choose another folder")
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    yield FolderWriter(place)


@contextmanager
def reading(place: Path) -> Iterator[Reader]:
    """A reader of what `writing` wrote; raises `Invalid` for a place that holds no such thing."""
    if place.is_dir():
        yield FolderReader(place)
        return
    try:
        with tarfile.open(place, "r:") as tar:
            yield TarReader(tar)
    except (FileNotFoundError, tarfile.ReadError) as error:
        raise Invalid(f"{place} is no export: take a folder or a .tar that `headway export` wrote") from error


def content_of(opened: IO[bytes]) -> Content:
    hasher, size = blake3(), 0
    while chunk := opened.read(_CHUNK_BYTES):
        hasher.update(chunk)
        size += len(chunk)
    return Content(digest=f"b3:{hasher.hexdigest()}", size=size)


def remove_unfinished(place: Path) -> None:
    """Take away what an export left that did not come to its end."""
    if place.suffix == ".tar":
        place.with_name(place.name + ".unfinished").unlink(missing_ok=True)
    else:
        shutil.rmtree(place, ignore_errors=True)


def _written(file: IO[bytes], chunks: Iterable[bytes]) -> Content:
    hasher, size = blake3(), 0
    for chunk in chunks:
        hasher.update(chunk)
        size += file.write(chunk)
    return Content(digest=f"b3:{hasher.hexdigest()}", size=size)
