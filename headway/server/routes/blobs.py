"""Blobs: bytes under their own digest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast

import litestar
from anyio import to_thread
from blake3 import blake3
from litestar.params import FromPath

from headway.errors import Invalid, NotFound
from headway.kernel.access import Permission
from headway.kernel.blobs import BlobStore, checked_digest
from headway.kernel.records import Value
from headway.server.body import ApiRequest
from headway.server.routing import BYTES, App, By, get, head


class Kept(Value):
    digest: str
    size: int


@litestar.put("/v1/blobs/{digest:str}", status_code=201, opt={"body": BYTES})
async def keep(digest: FromPath[str], request: ApiRequest, app: App, by: By) -> Kept:
    """Keep bytes under their BLAKE3 digest, which is verified."""
    by.must(Permission.WRITE)
    checked_digest(digest)
    with _upload(app.home.uploads) as file:
        size = await _received(request.stream(), file, digest)
        await to_thread.run_sync(_keep, app.blobs, file, size)
    return Kept(digest=digest, size=size)


@get("/v1/blobs/{digest:str}", media_type=BYTES)
def content(digest: FromPath[str], app: App) -> bytes:
    """The bytes with this digest."""
    return app.blobs.get(checked_digest(digest))


@head("/v1/blobs/{digest:str}")
def known(digest: FromPath[str], app: App) -> None:
    """Whether there are bytes with this digest."""
    if not app.blobs.has(checked_digest(digest)):
        raise NotFound(f"no blob {digest}")


@contextmanager
def _upload(folder: Path) -> Iterator[Path]:
    with NamedTemporaryFile(dir=folder, prefix="blob-") as file:
        yield Path(file.name)


async def _received(chunks: AsyncIterator[bytes], path: Path, digest: str) -> int:
    """Write `chunks` to `path` and return how many bytes; raises `Invalid` when they have another digest."""
    hasher, size = blake3(), 0
    with path.open("wb") as file:
        async for chunk in chunks:
            hasher.update(chunk)
            size += file.write(chunk)
    if f"b3:{hasher.hexdigest()}" != digest:
        raise Invalid("the bytes do not have the digest they were sent under; send them again")
    return size


def _keep(blobs: BlobStore, path: Path, size: int) -> None:
    if size == 0:  # an empty file cannot be mapped
        blobs.put(b"")
        return
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as view:
        blobs.put(cast(bytes, view))


ROUTES = (keep, content, known)
