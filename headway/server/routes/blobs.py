"""Blobs: bytes under their own digest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import litestar
from anyio import to_thread
from blake3 import blake3
from litestar.params import FromPath, FromQuery

from headway.errors import Invalid, NotFound
from headway.kernel.access import Permission
from headway.kernel.blobs import checked_digest
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
        await to_thread.run_sync(app.blobs.adopt, file, digest)
    return Kept(digest=digest, size=size)


@get("/v1/blobs/{digest:str}", media_type=BYTES)
def content(
    digest: FromPath[str], app: App, start: FromQuery[int | None] = None, length: FromQuery[int | None] = None
) -> bytes:
    """The bytes with this digest; with `start` and `length`, so many of them from there."""
    if (start is None) is not (length is None):
        raise Invalid("a part takes both start and length, in bytes")
    if start is None or length is None:
        return app.blobs.get(checked_digest(digest))
    return app.blobs.part(checked_digest(digest), start, length)


@head("/v1/blobs/{digest:str}")
def known(digest: FromPath[str], app: App) -> None:
    """Whether there are bytes with this digest."""
    if not app.blobs.has(checked_digest(digest)):
        raise NotFound(f"no blob {digest}")


@contextmanager
def _upload(folder: Path) -> Iterator[Path]:
    with NamedTemporaryFile(dir=folder, prefix="blob-", delete=False) as file:
        path = Path(file.name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)  # unless it was adopted


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


ROUTES = (keep, content, known)
