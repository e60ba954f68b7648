"""The blob store as clients fill it: no further than the quota."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headway.errors import QuotaExceeded
from headway.kernel.blobs import BlobStore, BlobsUsed, KeptBlob
from headway.kernel.quotas import QuotasNow
from headway.kernel.records import digest as digest_of


class QuotaBlobStore:
    """What is kept already may be put again at any time."""

    def __init__(self, blobs: BlobStore, quotas: QuotasNow) -> None:
        self._blobs, self._quotas = blobs, quotas
        self.get, self.has, self.delete, self.address = blobs.get, blobs.has, blobs.delete, blobs.address
        self.discard, self.destroy, self.part = blobs.discard, blobs.destroy, blobs.part

    def put(self, data: bytes) -> str:
        """As `BlobStore.put`; raises `QuotaExceeded` when it would be too much."""
        if self._quotas().blob_bytes is not None:
            self._check(digest_of(data), len(data))
        return self._blobs.put(data)

    def adopt(self, file: Path, digest: str) -> None:
        """As `BlobStore.adopt`; raises `QuotaExceeded` when it would be too much."""
        self._check(digest, file.stat().st_size)
        self._blobs.adopt(file, digest)

    def _check(self, digest: str, size: int) -> None:
        limit = self._quotas().blob_bytes
        if limit is not None and not self._blobs.has(digest):
            used = self._blobs.used().bytes
            if used + size > limit:
                raise QuotaExceeded(
                    f"the blobs take {used} bytes, and the quota is {limit}: purge what is no longer needed, then run "
                    "`headway gc`; or ask an operator to raise blob_bytes under [quotas]",
                    quota="blob_bytes", limit=limit,
                )  # fmt: skip

    def all(self) -> Iterable[KeptBlob]:
        return self._blobs.all()

    def discarded(self) -> Iterable[KeptBlob]:
        return self._blobs.discarded()

    def used(self) -> BlobsUsed:
        return self._blobs.used()
