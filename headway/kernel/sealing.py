"""Secrets that have to be used again, and so cannot be kept as digests."""

from __future__ import annotations

from typing import Protocol


class Sealer(Protocol):
    """Encrypts with a key that never leaves it; `place` is where the secret belongs, and it opens nowhere else."""

    def seal(self, secret: str, place: str) -> str: ...

    def unseal(self, sealed: str, place: str) -> str:
        """The secret; raises `Unavailable` for one that was sealed with another key, elsewhere, or was changed."""
        ...
