"""Bytes, addressed by their own BLAKE3: no client ever names a path, so none can be made to lead astray."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Protocol

from msgspec import Meta

from headway.errors import Invalid, NotFound
from headway.kernel.records import Value

_DIGEST = re.compile(r"b3:[0-9a-f]{64}")
BlobDigest = Annotated[str, Meta(extra={"holds": "blob"})]
"""A field of a record that holds a blob: as long as the record is kept, so is the blob. Empty for none."""


class KeptBlob(Value):
    digest: str
    size: int
    at: datetime
    """When it was put or asked for last, as far as the store can tell; of one that was discarded, when that was."""


class BlobsUsed(Value):
    """What the blobs take, those that are discarded too."""

    objects: int = 0
    bytes: int = 0


class BlobStore(Protocol):
    """Blobs that nobody needs are *discarded* first and *destroyed* later. Whoever puts, gets or asks for one that is
    discarded has it back: each of these is one atomic step, so that it can be had for as long as it is not destroyed.
    """

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest, once it is safe on disk. What is there already becomes young again."""
        ...

    def adopt(self, file: Path, digest: str) -> None:
        """Keep the bytes of `file`, whose digest the caller has made sure of, once they are safe on disk. The file is
        gone then: where it can be it is moved, so that nothing is written twice."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes; raises `NotFound`, or `LedgerBroken` when what is kept no longer has this digest."""
        ...

    def part(self, digest: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, unverified; raises `NotFound`, or `Invalid` for bytes that it does not have."""
        ...

    def has(self, digest: str) -> bool: ...
    def delete(self, digest: str) -> None:
        """Remove the blob at once; one that is not there is as good as removed."""
        ...

    def all(self) -> Iterable[KeptBlob]:
        """Those that are not discarded."""
        ...

    def discard(self, digest: str) -> None: ...
    def discarded(self) -> Iterable[KeptBlob]: ...

    def destroy(self, digest: str) -> None:
        """Remove for good what is discarded; a blob that was brought back meanwhile stays."""
        ...

    def used(self) -> BlobsUsed:
        """Counted once and then with every put of this process; counted anew after something went, and every hour."""
        ...

    def address(self, digest: str) -> str:
        """Where a process of the platform may read it: a local file path or an object URL."""
        ...


def blob_place(digest: str) -> str:
    """Where a blob lies below the root of its store: a folder of two characters, then the rest."""
    name = digest.removeprefix("b3:")
    return f"{name[:2]}/{name[2:]}"


def must_be_kept(blobs: BlobStore, *digests: str) -> None:
    """Raise `NotFound` for a blob that is no longer there. Asked inside the act that keeps a record of it: acts are
    serialised, and collection lets go of blobs inside an act, so that none is lost between the two."""
    for digest in digests:
        if not blobs.has(digest):
            raise NotFound(f"blob {digest} is not kept; send it again, then say this once more", digest=digest)


def checked_part(start: int, length: int, size: int) -> None:
    """Raises `Invalid` for a part that a blob of `size` bytes does not have."""
    if start < 0 or length < 0 or start + length > size:
        raise Invalid(f"the blob has {size} bytes, not {length} from {start}; ask for a part that it has")


def checked_digest(text: str) -> str:
    """`text` if it is a digest; raises `Invalid` otherwise."""
    if not _DIGEST.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is no digest: it takes b3: and 64 hexadecimal digits")
    return text
