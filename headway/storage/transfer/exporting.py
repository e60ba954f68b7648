"""Writing a home to an export: one state of the database, every blob that it holds, and a manifest at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from headway.errors import LedgerBroken, NotFound
from headway.kernel.blobs import BlobStore
from headway.kernel.ledger import GENESIS, Anchor
from headway.kernel.reachability import digests, references
from headway.kernel.records import encode
from headway.kernel.version import VERSION
from headway.lifecycle.runs.curve import Curve
from headway.storage.sql import schema
from headway.storage.sql.portable import PlainColumn, PortableDatabase
from headway.storage.transfer import layout
from headway.storage.transfer.columns import Row, has_parquet, parts
from headway.storage.transfer.layout import Blob, Content, Manifest
from headway.storage.transfer.pack import Writer, remove_unfinished, writing

POINT_COLUMNS = [
    PlainColumn("run", "text"), PlainColumn("key", "text"), PlainColumn("number", "integer"),
    PlainColumn("step", "integer"), PlainColumn("at", "time"), PlainColumn("value", "real"),
]  # fmt: skip
_CHUNK_BYTES = 1 << 20


def export_home(
    database: PortableDatabase, blobs: BlobStore, place: Path, others: Mapping[str, bytes],
    report: Callable[[str], None] = lambda name: None,
) -> Manifest:  # fmt: skip
    """Write all to `place`, a new folder or a .tar, with `others`, small files by name; `report` hears of each file.

    Raises `Conflict` for a place that is taken, `LedgerBroken` for a record or a blob that is damaged or missing.
    """
    with writing(place) as writer:
        try:
            return _Export(database, blobs, writer, report).all(others)
        except BaseException:
            remove_unfinished(place)
            raise


class _Export:
    def __init__(
        self, database: PortableDatabase, blobs: BlobStore, writer: Writer, report: Callable[[str], None]
    ) -> None:
        self._database, self._blobs, self._writer, self._report = database, blobs, writer, report
        self._files: dict[str, Content] = {}
        self._mentioned: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._head = Anchor(number=0, hash=GENESIS)

    def all(self, others: Mapping[str, bytes]) -> Manifest:
        with self._database.snapshot():
            for table in self._database.record_tables():
                self._lines(layout.record_file(table), self._records(table))
            self._lines(layout.LEDGER, self._entries())
            self._lines(layout.LINEAGE, (encode(edge) + b"\n" for edge in self._database.edges()))
            for table in self._database.plain_tables():
                self._table(table, self._database.columns(table), (list(page) for page in self._database.rows(table)))
            self._table(layout.POINTS, POINT_COLUMNS, _point_pages(self._database.curves()))
        kept = list(self._kept())
        self._lines(layout.BLOBS, (encode(blob) + b"\n" for blob in kept))
        for name, content in others.items():
            self._files[name] = self._writer.add(name, [content])
        manifest = Manifest(
            format=layout.FORMAT, version=layout.VERSION, headway=VERSION, database=schema.VERSION, head=self._head,
            blobs=len(kept), blob_bytes=sum(blob.size for blob in kept), files=dict(sorted(self._files.items())),
        )  # fmt: skip
        self._writer.add(layout.MANIFEST, [encode(manifest)])
        return manifest

    def _lines(self, name: str, lines: Iterable[bytes], rows: int | None = None) -> None:
        count = 0

        def counted() -> Iterator[bytes]:
            nonlocal count
            for line in lines:
                count += 1
                yield line

        self._report(name)
        content = self._writer.add(name, counted())
        self._files[name] = content.but(rows=count if rows is None else rows)

    def _records(self, table: str) -> Iterator[bytes]:
        for identifier, body in self._database.records(table):
            for digest in digests([(identifier, body)]):
                self._mentioned.setdefault(digest, identifier)
            self._held |= {each.digest: identifier for each in references(identifier, body) if each.held}
            yield body + b"\n"

    def _entries(self) -> Iterator[bytes]:
        after = 0
        while page := self._database.ledger.entries(after=after):
            for entry in page:
                yield encode(entry) + b"\n"
            after = page[-1].number
            self._head = Anchor(number=after, hash=page[-1].hash)

    def _table(self, table: str, columns: list[PlainColumn], pages: Iterable[list[Row]]) -> None:
        for part in parts(table, columns, pages, parquet=has_parquet()):
            self._lines(part.name, part.chunks, part.rows)

    def _kept(self) -> Iterator[Blob]:
        """Every blob that a record holds; and those that are only mentioned, if they are there."""
        for digest in sorted(self._mentioned):
            try:
                content = self._writer.add(layout.blob_file(digest), self._content(digest))
            except NotFound as error:
                if digest in self._held:
                    raise LedgerBroken(f"{self._held[digest]} holds blob {digest}, which is missing") from error
                continue
            if content.digest != digest:
                raise LedgerBroken(f"blob {digest} is not as it was written; restore it from a backup")
            yield Blob(digest=digest, size=content.size)

    def _content(self, digest: str) -> Iterable[bytes]:
        path = Path(self._blobs.address(digest))
        if path.is_file():
            return _chunks(path)
        if not self._blobs.has(digest):
            raise NotFound(f"no blob {digest}")
        return [self._blobs.get(digest)]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _point_pages(curves: Iterable[tuple[str, str, Curve]]) -> Iterator[list[Row]]:
    name, number = ("", ""), 0
    for run, key, curve in curves:
        number = number if (run, key) == name else 0
        name = (run, key)
        columns = zip(curve.steps, curve.at_us, curve.values, strict=True)
        yield [(run, key, place, *point) for place, point in enumerate(columns, number + 1)]
        number += len(curve)
