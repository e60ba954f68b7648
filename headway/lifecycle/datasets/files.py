"""What one can do with datasets of files: add a version, list it, compare two."""

from __future__ import annotations

from bisect import bisect_left

from headway.errors import Conflict, Invalid
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_name
from headway.kernel.records import Value, encode
from headway.lifecycle.datasets.lines import DatasetLines
from headway.lifecycle.datasets.listing import Entry, checked_paths, listing_digest
from headway.lifecycle.datasets.packs import Packs, Pieces
from headway.lifecycle.datasets.records import AddFiles, DatasetVersion, Form, Manifest, Pack
from headway.lifecycle.datasets.tree import MOST_CHUNKS, chunks_of, entries_of

MOST_PACKS = 50_000
MOST_LISTED = 10_000


class ListedFile(Value):
    path: str
    size: int
    executable: bool
    digest: str


class FilePage(Value):
    """Files in order of their paths; `after` is what the next page is asked for with, or None at the end."""

    items: tuple[ListedFile, ...]
    after: str | None = None


class DatasetFileService:
    def __init__(self, journal: Journal, datasets: DatasetLines, blobs: BlobStore) -> None:
        self._journal, self._datasets, self._blobs = journal, datasets, blobs
        self._packs = Packs(blobs)

    def prove(self, blob: str, *, by: Actor) -> Pack:
        """Look at a pack before the version that needs it is added: so that adding does not have to wait for it."""
        by.must(Permission.WRITE)
        return self._packs.proven(blob)

    def written_here(self, pack: Pack) -> None:
        """Believe a pack that this very process has written, each piece under the digest that it was found to have."""
        self._packs.believe(pack)

    def add(self, command: AddFiles, *, by: Actor) -> DatasetVersion:
        """Add a version, or return the newest one if that holds exactly these files.

        Everything is looked at before anything is kept: packs that the newest version does not have are proven, and
        every file has its pieces there. Raises `Invalid` for what does not hold, `NotFound` for a pack that is missing.
        """
        by.must(Permission.WRITE)
        name = checked_name(command.dataset, "dataset")
        if not 0 < len(command.packs) <= MOST_PACKS:
            raise Invalid(f"a version needs from 1 to {MOST_PACKS} packs, not {len(command.packs)}")
        newest = self._datasets.newest(name)
        if newest is not None and newest.form is not Form.FILES:
            raise Conflict(f"{name} is a dataset of tables; add files under another name")
        known = {pack.blob: pack for pack in newest.packs} if newest else {}
        packs = [known.get(blob) or self._packs.proven(blob) for blob in dict.fromkeys(command.packs)]
        pieces = self._packs.pieces(packs)
        entries = self._checked(checked_digest(command.root), pieces)
        digest = listing_digest(entries)
        if newest is not None and newest.digest == digest:
            return newest
        kept = tuple(pack for pack in packs if pack.blob in pieces.used)
        manifest = Manifest(
            digest=digest, root=command.root, files=len(entries), size=sum(each.size for each in entries), packs=kept
        )
        stored = sum(pack.size for pack in kept if pack.blob not in known)
        return self._keep(command, manifest, stored, by)

    def _keep(self, command: AddFiles, manifest: Manifest, stored: int, by: Actor) -> DatasetVersion:
        blob = self._blobs.put(encode(manifest))
        with self._journal.act(by.name, "dataset.add", why=command.note) as act:
            must_be_kept(self._blobs, blob, *(pack.blob for pack in manifest.packs))
            return self._datasets.number(
                act, command.dataset,
                blob=blob, size=manifest.size, rows=0, schema=(), note=command.note, made_by=command.made_by,
                form=Form.FILES, files=manifest.files, digest=manifest.digest, root=manifest.root, packs=manifest.packs,
                stored=stored, came_from=[*command.came_from, command.made_by],
            )  # fmt: skip

    def _checked(self, root: str, pieces: Pieces) -> list[Entry]:
        """The entries of a tree, all of whose pieces are there."""
        entries = list(entries_of(bytes.fromhex(root.removeprefix("b3:")), pieces.get))
        if not entries:
            raise Invalid("there is no file to add; a version holds at least one")
        checked_paths([each.path for each in entries])
        chunks = 0
        for entry in entries:
            if not entry.lists:
                if entry.size and pieces.place(entry.digest)[2] != entry.size:
                    raise Invalid(f"{entry.path!r:.300} has another size than its bytes")
                continue
            for name, length in chunks_of(entry, pieces.get):
                chunks += 1
                if chunks > MOST_CHUNKS:
                    raise Invalid(f"a version has at most {MOST_CHUNKS} chunks; split the folder")
                if pieces.place(name)[2] != length:
                    raise Invalid(f"{entry.path!r:.300} has a chunk of another size than its bytes")
        return entries

    def entries(self, version: DatasetVersion) -> list[Entry]:
        """Every file of a version, in order; raises `Invalid` for a version of a table."""
        if version.form is not Form.FILES:
            raise Invalid(f"{version.label} is a table and has no files")
        pieces = self._packs.pieces(version.packs)
        return list(entries_of(bytes.fromhex(version.root.removeprefix("b3:")), pieces.get))

    def files(self, reference: str, *, after: str = "", limit: int = 1000) -> FilePage:
        """A page of the files of a version, behind the path `after`."""
        if not 1 <= limit <= MOST_LISTED:
            raise Invalid(f"limit is from 1 to {MOST_LISTED}, not {limit}")
        entries = self.entries(self._datasets.version(reference))
        first = bisect_left(entries, after + "\0", key=lambda each: each.path) if after else 0
        items = tuple(
            ListedFile(path=each.path, size=each.size, executable=each.executable, digest="b3:" + each.digest.hex())
            for each in entries[first : first + limit]
        )
        return FilePage(items=items, after=items[-1].path if first + limit < len(entries) else None)
