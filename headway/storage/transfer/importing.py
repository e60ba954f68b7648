"""Reading an export into an empty home: checked whole before anything is written, then written all or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec

from headway.errors import Conflict, Invalid, LedgerBroken, Unavailable
from headway.kernel.blobs import BlobStore, checked_digest
from headway.kernel.ledger import Entry, verify
from headway.kernel.lineage import Edge
from headway.kernel.records import UNREADABLE
from headway.storage.sql import schema
from headway.storage.sql.portable import Filling, PortableDatabase
from headway.storage.transfer import layout
from headway.storage.transfer.columns import Row, read_rows
from headway.storage.transfer.exporting import POINT_COLUMNS
from headway.storage.transfer.layout import Blob, Manifest, read_manifest
from headway.storage.transfer.pack import Reader, content_of, reading

Kind = TypeVar("Kind")
_SECRET = re.compile(rf"{layout.SECRETS}/(keys|tokens)/[a-z][a-z0-9.-]*")
_AT_ONCE = 5000
_POINTS_AT_ONCE = 50_000


def import_home(
    database: PortableDatabase, blobs: BlobStore, place: Path, keep: Callable[[str, bytes], None]
) -> Manifest:
    """Fill an empty database and its blobs from the export at `place`; `keep` is handed its small files, such as the
    project's, before the database is filled.

    Raises `Conflict` for a database that holds anything, `NotFound` for a file that is missing, `LedgerBroken` for one
    whose bytes are not those that were exported, `Invalid` for what is no export.
    """
    with reading(place) as reader:
        with reader.open(layout.MANIFEST) as file:
            manifest = read_manifest(file.read())
        if manifest.database > schema.VERSION:
            raise Unavailable(f"the export is of Headway {manifest.headway}, which is newer; upgrade Headway")
        _must_be_empty(database)
        _check_files(reader, manifest)
        _keep_blobs(reader, blobs)
        for name in filter(_is_small, manifest.files):
            with reader.open(name) as file:
                keep(name, file.read())
        with database.filling() as filling:
            _must_be_empty(database)
            _fill(filling, database, reader, manifest)
            count = verify(database.ledger)
            if count != manifest.head.number:
                raise LedgerBroken(f"the ledger ends at entry {count}, and the manifest says {manifest.head.number}")
        return manifest


def _must_be_empty(database: PortableDatabase) -> None:
    if full := database.full_table():
        raise Conflict(f"this home is not empty (it has {full}); import into a new one: --home FOLDER")


def _check_files(reader: Reader, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        if name.startswith("/") or ".." in name.split("/"):
            raise Invalid(f"{layout.MANIFEST} names {name[:100]!r}, which leads elsewhere")
        with reader.open(name) as file:
            found = content_of(file)
        if (found.digest, found.size) != (expected.digest, expected.size):
            raise LedgerBroken(f"{name} is not as it was exported; take another copy of the export")


def _keep_blobs(reader: Reader, blobs: BlobStore) -> None:
    """Blobs that are there already are left alone: so an import that was cut off goes on."""
    for blob in _decoded(reader, layout.BLOBS, Blob):
        name = layout.blob_file(checked_digest(blob.digest))
        with reader.open(name) as file:
            if not blobs.has(blob.digest) and _put(blobs, file, blob.size) != blob.digest:
                raise LedgerBroken(f"{name} is not as it was exported; take another copy of the export")


def _put(blobs: BlobStore, file: IO[bytes], size: int) -> str:
    try:
        descriptor = file.fileno() if size else -1
    except (OSError, AttributeError):  # inside a tar file
        descriptor = -1
    if descriptor < 0:
        return blobs.put(file.read())
    with mmap(descriptor, 0, access=ACCESS_READ) as mapped, memoryview(mapped) as view:
        return blobs.put(cast(bytes, view))


def _fill(filling: Filling, database: PortableDatabase, reader: Reader, manifest: Manifest) -> None:
    known = {layout.record_file(table): table for table in database.record_tables()}
    plain = set(database.plain_tables())
    for name in manifest.files:
        if name in known:
            with reader.open(name) as file:
                filling.records(known[name], (line.removesuffix(b"\n") for line in file))
        elif name.startswith("records/"):
            raise Unavailable(f"{name} holds records that this Headway does not know; upgrade Headway")
    filling.entries(_decoded(reader, layout.LEDGER, Entry))
    filling.edges(_decoded(reader, layout.LINEAGE, Edge))
    for name in sorted(name for name in manifest.files if name.startswith("tables/")):
        table = name.split("/")[1].removesuffix(".jsonl")
        with reader.open(name) as file:
            if table == layout.POINTS:
                _fill_points(filling, read_rows(name, POINT_COLUMNS, file))
            elif table in plain:
                for rows in _batches(read_rows(name, database.columns(table), file), _AT_ONCE):
                    filling.rows(table, rows)
            else:
                raise Unavailable(f"{name} is a table that this Headway does not know; upgrade Headway")
    filling.close_numbers()


def _fill_points(filling: Filling, rows: Iterator[Row]) -> None:
    for batch in _batches(rows, _POINTS_AT_ONCE):
        filling.points((run, key, step, at_us, value) for run, key, _, step, at_us, value in batch)


def _batches(rows: Iterator[Row], most: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, most)):
        yield batch


def _decoded(reader: Reader, name: str, kind: type[Kind]) -> Iterable[Kind]:
    decoder: Any = msgspec.json.Decoder(kind)
    with reader.open(name) as file:
        for line in file:
            try:
                yield decoder.decode(line)
            except UNREADABLE as error:
                raise Invalid(f"{name} has a line that is no {kind.__name__}: {error}") from error


def _is_small(name: str) -> bool:
    return name == layout.PROJECT or _SECRET.fullmatch(name) is not None
