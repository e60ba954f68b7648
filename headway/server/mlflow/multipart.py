"""Files that come in parts: each part to a link of its own, then put together as one blob."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile

from blake3 import blake3

from headway.errors import Conflict, Invalid, NotFound
from headway.kernel.access import Permission
from headway.server.links import Links
from headway.server.mlflow.artifacts import Place, kept_file, place_of
from headway.server.mlflow.wire import Answer, Ask, Desk

MULTIPART = "/api/2.0/mlflow-artifacts/mpu"
MOST_PARTS, MOST_UPLOADS = 10_000, 100
ABANDONED = timedelta(hours=24)
"""Without a new part for so long, an upload is removed."""
_FOLDER = "multipart-"
_BLOCK_BYTES = 1 << 20
_SEPARATORS = re.compile(r"[/\\]")


class CreateUpload(Ask):
    path: str
    num_parts: int = 1


class Part(Ask):
    part_number: int
    etag: str = ""


class CompleteUpload(Ask):
    path: str
    upload_id: str
    parts: list[Part]


class AbortUpload(Ask):
    upload_id: str
    path: str = ""


@dataclass
class Upload:
    place: Place
    folder: Path
    number_of_parts: int
    arrived: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Digest and size of each part."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Uploads:
    """The uploads that are under way: known to this process, their parts as files below `folder`."""

    def __init__(self, folder: Path, links: Links, most_bytes: int) -> None:
        self._folder, self._links, self._most_bytes = folder, links, most_bytes
        self._open: dict[str, Upload] = {}

    def create(self, desk: Desk, folder: str, ask: CreateUpload, origin: str) -> Answer:
        """Begin one. Of the client's own path only the last name counts: it is the name of the file."""
        desk.by.must(Permission.WRITE)
        place = self._place(desk, folder, ask.path)
        if not 1 <= ask.num_parts <= MOST_PARTS:
            raise Invalid(f"an upload has 1 to {MOST_PARTS} parts, not {ask.num_parts}")
        self.sweep(desk)
        if len(self._open) >= MOST_UPLOADS:
            raise Conflict(f"{MOST_UPLOADS} uploads are under way; wait until one of them is complete")
        identifier = secrets.token_hex(16)
        upload = Upload(place, self._folder / f"{_FOLDER}{identifier}", ask.num_parts)
        upload.folder.mkdir(mode=0o700)
        self._open[identifier] = upload
        paths = [f"{MULTIPART}/part/{identifier}/{number}" for number in range(1, ask.num_parts + 1)]
        credentials = [
            {"url": origin + self._links.signed("PUT", path, desk.by), "part_number": number, "headers": {}}
            for number, path in enumerate(paths, 1)
        ]
        return {"upload_id": identifier, "credentials": credentials}

    async def write(self, identifier: str, number: int, chunks: AsyncIterator[bytes]) -> str:
        """Keep a part and return its digest; sent again it takes the place of the one before."""
        upload = self._of(identifier)
        if not 1 <= number <= upload.number_of_parts:
            raise NotFound(f"this upload has parts 1 to {upload.number_of_parts}, not {number}")
        hasher, size = blake3(), 0
        with NamedTemporaryFile(dir=upload.folder, delete=False) as file:
            try:
                async for chunk in chunks:
                    hasher.update(chunk)
                    size += file.write(chunk)
                    self._check_size(upload, number, size)
                file.close()
                self._of(identifier)
                os.replace(file.name, upload.folder / str(number))
            except FileNotFoundError as error:
                raise NotFound("this upload was ended meanwhile") from error
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        upload.arrived[number] = (hasher.hexdigest(), size)
        return hasher.hexdigest()

    async def complete(self, desk: Desk, folder: str, ask: CompleteUpload) -> None:
        """Put the parts together, name the blob, and forget the upload."""
        desk.by.must(Permission.WRITE)
        upload = self._of(ask.upload_id)
        async with upload.lock:
            self._of(ask.upload_id)
            place = await asyncio.to_thread(self._place, desk, folder, ask.path)
            if place != upload.place:
                raise Invalid("this upload is of another file")
            _check_parts(upload, ask.parts)
            await asyncio.to_thread(_assembled, desk, upload)
            await asyncio.to_thread(self._forget, ask.upload_id)

    def abort(self, desk: Desk, ask: AbortUpload) -> Answer:
        desk.by.must(Permission.WRITE)
        self._of(ask.upload_id)
        self._forget(ask.upload_id)
        return {}

    def sweep(self, desk: Desk) -> None:
        """Remove what was abandoned, by this process or one before it."""
        before = (desk.clock.now() - ABANDONED).timestamp()
        for found in self._folder.glob(f"{_FOLDER}*"):
            try:
                if found.stat().st_mtime < before:
                    self._open.pop(found.name.removeprefix(_FOLDER), None)
                    shutil.rmtree(found, ignore_errors=True)
            except FileNotFoundError:
                continue

    def _place(self, desk: Desk, folder: str, path: str) -> Place:
        name = _SEPARATORS.split(path)[-1]
        if not name:
            raise Invalid("path names the file that is sent")
        return place_of(desk.platform, f"{folder.strip('/')}/{name}")

    def _of(self, identifier: str) -> Upload:
        if identifier not in self._open:
            raise NotFound("no such upload is under way: it is complete, was ended, or began before this server did")
        return self._open[identifier]

    def _forget(self, identifier: str) -> None:
        upload = self._open.pop(identifier, None)
        if upload is not None:
            shutil.rmtree(upload.folder, ignore_errors=True)

    def _check_size(self, upload: Upload, number: int, size: int) -> None:
        if size + sum(part for other, (_, part) in upload.arrived.items() if other != number) > self._most_bytes:
            raise Invalid(f"the file is larger than the {self._most_bytes} bytes that are taken here")


def _check_parts(upload: Upload, parts: list[Part]) -> None:
    numbers = [part.part_number for part in parts]
    if numbers != list(range(1, upload.number_of_parts + 1)):
        raise Invalid(f"an upload is complete with its parts 1 to {upload.number_of_parts}, in order and each once")
    for part in parts:
        if part.part_number not in upload.arrived:
            raise Invalid(f"part {part.part_number} has not arrived; send it to its link")
        if part.etag.strip('"') != upload.arrived[part.part_number][0]:
            raise Invalid(f"the ETag of part {part.part_number} is not the one that was answered; send the part again")


def _assembled(desk: Desk, upload: Upload) -> None:
    with NamedTemporaryFile(dir=desk.uploads, prefix="artifact-") as file:
        whole, size = blake3(), 0
        for number in range(1, upload.number_of_parts + 1):
            part = blake3()
            for block in _blocks(upload.folder / str(number)):
                part.update(block)
                whole.update(block)
                size += file.write(block)
            if part.hexdigest() != upload.arrived[number][0]:
                raise Conflict(f"part {number} is not as it arrived; send it again")
        file.flush()
        kept_file(desk, upload.place, Path(file.name), whole.hexdigest(), size)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
