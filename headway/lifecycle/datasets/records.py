"""Datasets and their versions: named lines of immutable tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headway.kernel.blobs import BlobDigest
from headway.kernel.records import Record, Value
from headway.lifecycle.datasets.contract import Contract, Violation
from headway.lifecycle.datasets.schema import Column


class Dataset(Record, prefix="ds"):
    name: str
    about: str = ""
    last_number: int = 0
    """The highest number of a version that was purged: it is not given again."""


class DatasetVersion(Record, prefix="dv"):
    """One immutable state of a dataset. `blob` is the table as Parquet; `fingerprint` is its digest."""

    dataset: str
    """The dataset's name."""
    number: int
    blob: BlobDigest
    size: int
    rows: int
    schema: tuple[Column, ...]
    contract: Contract | None = None
    profile: BlobDigest | None = None
    """Blob of the profiles: the whole and, with a time column, each day."""
    note: str = ""
    made_by: str = ""
    """The run that wrote it, if one did."""
    skew: tuple[Violation, ...] = ()
    """Rules of values that it breaks, under a contract that warns of these."""
    deleted_at: datetime | None = None

    @property
    def label(self) -> str:
        return f"{self.dataset}@{self.number}"


class AddVersion(Value):
    """Command: add the table in `blob` as the next version of `dataset`."""

    dataset: str
    blob: str
    contract: Contract | None = None
    note: str = ""
    made_by: str = ""
    came_from: tuple[str, ...] = ()


def facts(version: DatasetVersion) -> dict[str, Any]:
    """What an event says of a new version."""
    return {"dataset": version.dataset, "number": version.number, "rows": version.rows, "skewed": bool(version.skew)}
