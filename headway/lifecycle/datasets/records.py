"""Datasets and their versions: named lines of immutable tables, or of folders of files."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
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
    tagged: dict[str, int] = {}
    """By tag, the number of the version that it leads to now."""


class Form(StrEnum):
    TABLE = "table"
    FILES = "files"


class Pack(Value):
    """A blob of many pieces; `index` is how many bytes at its end tell where they are."""

    blob: BlobDigest
    size: int
    index: int


class Part(Value):
    """Some rows of a table, as Parquet."""

    blob: BlobDigest
    size: int
    rows: int


class DatasetVersion(Record, prefix="dv"):
    """One immutable state of a dataset. `blob` is the table as Parquet; of a table in parts, and of files, it is the
    manifest, which says what they are."""

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
    form: Form = Form.TABLE
    parts: tuple[Part, ...] = ()
    """Of a table that was appended to, or shares rows with the version before: its rows in order. Empty for one that
    is whole in `blob`."""
    together: int = 1
    """Of a table in parts: how many of them, from the first, came as one table. Those behind were appended."""
    files: int = 0
    digest: str = ""
    """Of files: the digest of their listing, which is the same wherever and however they are kept."""
    root: str = ""
    """Of files: the digest of the tree's root, a piece in one of the packs."""
    packs: tuple[Pack, ...] = ()
    """Of files: where the pieces are. Every pack that the version needs is here, so that collection leaves it."""
    stored: int = 0
    """Bytes that were not there before, in packs and parts."""

    @property
    def label(self) -> str:
        return f"{self.dataset}@{self.number}"

    @property
    def new_rows(self) -> int:
        """Of a table: how many rows were stored that were not there before."""
        if self.stored >= self.size:
            return self.rows
        return self.parts[-1].rows if self.parts and self.stored else 0


class AddVersion(Value):
    """Command: add the table in `blob` as the next version of `dataset`; if it is in several, the rows in `parts` are
    behind those in `blob`, and the first `together` of all these are looked at as one table."""

    dataset: str
    blob: str
    parts: tuple[str, ...] = ()
    together: int = 1
    contract: Contract | None = None
    note: str = ""
    made_by: str = ""
    came_from: tuple[str, ...] = ()


class AddFiles(Value):
    """Command: add the tree with this `root`, whose pieces are in `packs`, as the next version of `dataset`."""

    dataset: str
    root: str
    packs: tuple[str, ...]
    note: str = ""
    made_by: str = ""
    came_from: tuple[str, ...] = ()


class AppendRows(Value):
    """Command: the next version of `dataset` has the rows of version `after`, which is the newest, and behind them
    those of the Parquet in `blob`."""

    dataset: str
    after: str
    """An id, or `name@number`."""
    blob: str
    note: str = ""
    made_by: str = ""
    came_from: tuple[str, ...] = ()


class Manifest(Value):
    """What the blob of a version of files holds, as JSON: enough to read them without a database."""

    digest: str
    root: str
    files: int
    size: int
    packs: tuple[Pack, ...]
    format: str = "headway-files"
    version: int = 1


class TableManifest(Value):
    """What the blob of a table in parts holds, as JSON."""

    parts: tuple[Part, ...]
    format: str = "headway-table"
    version: int = 1


def facts(version: DatasetVersion) -> dict[str, Any]:
    """What an event says of a new version."""
    return {"dataset": version.dataset, "number": version.number, "rows": version.rows, "skewed": bool(version.skew)}
