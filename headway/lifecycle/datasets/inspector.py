"""What the platform must be able to see in a table that came as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headway.kernel.records import Value
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.schema import Summary


class Shared(Value):
    """The first `parts` of those that were asked about hold the rows with which a table begins; `rest` holds the
    `rest_rows` behind them as Parquet, and is empty where there are none or no part is shared."""

    parts: int = 0
    rest: bytes = b""
    rest_rows: int = 0


class Inspector(Protocol):
    """Looks into a table that came as bytes; raises `Invalid` when it is none."""

    def summarise(self, data: bytes) -> Summary: ...

    def reference(self, data: bytes, contract: Contract | None) -> bytes:
        """The encoded `Reference`: profiles of the whole table and of each of its days."""
        ...

    def extended(self, reference: bytes, data: bytes, contract: Contract | None) -> bytes:
        """The encoded `Reference` of the table that `reference` is of, with the rows in `data` behind its own."""
        ...

    def joined(self, parts: Sequence[bytes]) -> bytes:
        """The rows of all `parts`, in order, as one Parquet."""
        ...

    def shared(self, parts: Sequence[bytes], data: bytes) -> Shared:
        """Which of `parts`, from the first, hold the rows with which the table in `data` begins."""
        ...
