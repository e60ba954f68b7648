"""What one can do with the files of runs, logged models and traces. Names are keys of records, never paths of files."""

from __future__ import annotations

from collections.abc import Sequence

from headway.errors import NotFound
from headway.kernel.access import Actor, Permission
from headway.kernel.blobs import BlobStore, checked_digest, must_be_kept
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.journal import Journal
from headway.kernel.naming import checked_path
from headway.lifecycle.runs.records import Artifact
from headway.lifecycle.runs.store import ArtifactStore


class ArtifactService:
    """`owner` is the id of a run, a logged model or a trace, which the caller has looked up."""

    def __init__(self, journal: Journal, store: ArtifactStore, blobs: BlobStore, clock: Clock, ids: Ids) -> None:
        self._journal, self._store, self._blobs, self._clock, self._ids = journal, store, blobs, clock, ids

    def put(self, owner: str, name: str, blob: str, size: int, *, by: Actor, media_type: str = "") -> Artifact:
        """Name a blob of `size` bytes as a file of `owner`; the same name again replaces."""
        by.must(Permission.WRITE)
        checked_path(name)
        checked_digest(blob)
        with self._journal.act(by.name, "artifact.put") as act:
            must_be_kept(self._blobs, blob)
            known = self._store.named(owner, name)
            artifact = Artifact(
                id=known.id if known else self._ids(Artifact.prefix),
                created_at=self._clock.now(),
                run=owner,
                name=name,
                blob=blob,
                size=size,
                media_type=media_type or "application/octet-stream",
            )
            return act.save(self._store, artifact, came_from=[owner])

    def named(self, owner: str, name: str) -> Artifact:
        found = self._store.named(owner, checked_path(name))
        if found is None or found.removed_at is not None:
            raise NotFound(f"{owner} has no artifact {name[:200]!r}")
        return found

    def below(self, owner: str, folder: str = "") -> Sequence[Artifact]:
        """Those whose name begins with `folder`, or all."""
        under = checked_path(folder) + "/" if folder else ""
        kept = [artifact for artifact in self._store.list(owner) if artifact.removed_at is None]
        return [artifact for artifact in kept if artifact.name.startswith(under)]

    def remove(self, owner: str, name: str, *, by: Actor) -> int:
        """Take away a file, or all below a folder, and return how many; the ledger still knows them."""
        by.must(Permission.WRITE)
        checked_path(name)
        with self._journal.act(by.name, "artifact.remove") as act:
            now, gone = self._clock.now(), 0
            for artifact in self.below(owner):
                if artifact.name == name or artifact.name.startswith(name + "/"):
                    act.save(self._store, artifact.but(removed_at=now))
                    gone += 1
            return gone
