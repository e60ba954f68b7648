"""Bytes, addressed by their own BLAKE3: no client ever names a path, so none can be made to lead astray."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Protocol

from msgspec import Meta

from headway.errors import Invalid

_DIGEST = re.compile(r"b3:[0-9a-f]{64}")
BlobDigest = Annotated[str, Meta(extra={"holds": "blob"})]
"""A field of a record that holds a blob: as long as the record is kept, so is the blob. Empty for none."""


class BlobStore(Protocol):
    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest, once it is safe on disk."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes; raises `NotFound`, or `LedgerBroken` when what is kept no longer has this digest."""
        ...

    def has(self, digest: str) -> bool: ...
    def delete(self, digest: str) -> None: ...
    def all(self) -> Iterable[str]: ...

    def address(self, digest: str) -> str:
        """Where a process of the platform may read it: a local file path or an object URL."""
        ...


def checked_digest(text: str) -> str:
    """`text` if it is a digest; raises `Invalid` otherwise."""
    if not _DIGEST.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is no digest: it takes b3: and 64 hexadecimal digits")
    return text
