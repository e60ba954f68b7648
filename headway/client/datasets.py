"""Datasets, over a connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headway.client.active import active_run
from headway.client.blobs import Blobs
from headway.client.files.adding import Adding, Advance
from headway.client.files.checkout import CheckedOut, check_out, files_of
from headway.client.files.comparing import FolderStatus, status_against, status_here
from headway.client.files.index import IndexFile
from headway.client.files.opened import VersionFile
from headway.client.frames import frame_as, frame_of, joined, parquet_of
from headway.client.line import Line, segment
from headway.errors import Conflict, NotFound
from headway.kernel.naming import nearest
from headway.kernel.paging import Page
from headway.lifecycle.datasets.comparison import Comparison
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.files import FilePage, ListedFile
from headway.lifecycle.datasets.records import AddFiles, AddVersion, AppendRows, Dataset, DatasetVersion

_ATTEMPTS = 16


class Datasets:
    def __init__(self, connection: Line) -> None:
        self._connection, self._blobs = connection, Blobs(connection)

    def add(
        self,
        name: str,
        table: Any,
        *,
        contract: Contract | None = None,
        note: str = "",
        made_by: str | None = None,
        came_from: Sequence[str] = (),
    ) -> DatasetVersion:
        """Add `table` (a frame, a dict of columns, or a path to CSV or Parquet) as the next version of `name`.

        The same content under the same contract is the version that is there already. Where it begins with the rows of
        the version before, only those behind them are stored; the whole is checked and profiled. `made_by` is
        the id of the run that made it, the active one if left out. Raises `ContractBroken`, and then keeps nothing.
        """
        command = AddVersion(
            dataset=name, blob=self._blobs.put(parquet_of(table)), contract=contract, note=note, made_by=_run(made_by),
            came_from=tuple(came_from),
        )  # fmt: skip
        return self._connection.post("/v1/datasets/versions", DatasetVersion, command)

    def append(
        self, name: str, rows: Any, *, note: str = "", made_by: str | None = None, came_from: Sequence[str] = ()
    ) -> DatasetVersion:
        """Add a version that has the rows of the newest one and `rows` behind them; only these are sent and kept.

        Two that append at once both have their rows in, one behind the other. Raises `ContractBroken` for rows that
        break the contract, `Invalid` for other columns, `NotFound` while there is no version.
        """
        blob = self._blobs.put(parquet_of(rows))
        for left in range(_ATTEMPTS - 1, -1, -1):
            command = AppendRows(
                dataset=name, after=self.version(name).id, blob=blob, note=note, made_by=_run(made_by),
                came_from=tuple(came_from),
            )  # fmt: skip
            try:
                return self._connection.post("/v1/datasets/rows", DatasetVersion, command)
            except Conflict as error:
                if not left or "newest" not in error.details:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def add_files(
        self,
        name: str,
        path: str | Path,
        *,
        exclude: Sequence[str] = (),
        note: str = "",
        made_by: str | None = None,
        came_from: Sequence[str] = (),
        advance: Advance = lambda size: None,
    ) -> DatasetVersion:
        """Add the files of a folder, or one file, as the next version of `name`; the same files are the newest version.

        Only what is new is sent. Raises `Invalid` for what is not kept (links, sockets, odd names), `Conflict` for a
        file that changes while it is read. `advance` is told of bytes as they are read.
        """
        adding = Adding(self._connection, name, Path(path).absolute(), exclude, advance)
        return adding.run(note, _run(made_by), came_from)

    def add_kept(self, command: AddVersion | AddFiles) -> DatasetVersion:
        """Add what is in blobs that the server has already."""
        path = "/v1/datasets/files" if isinstance(command, AddFiles) else "/v1/datasets/versions"
        return self._connection.post(path, DatasetVersion, command)

    def checkout(
        self,
        reference: str,
        folder: str | Path,
        *,
        only: Sequence[str] = (),
        force: bool = False,
        shared: bool = False,
        advance: Advance = lambda size: None,
    ) -> CheckedOut:
        """Make `folder` hold the files of a version, or those whose paths match one of the patterns in `only`.

        Raises `Conflict`, and changes nothing, when files would be overwritten that no version is known to have;
        `force` overwrites them. A `shared` folder holds other things beside the one file of the version.
        """
        version = self.version(reference)
        return check_out(
            self._connection, version, Path(folder), only=only, force=force, shared=shared, advance=advance
        )  # fmt: skip

    def status(self, path: str | Path, against: str | None = None) -> FolderStatus:
        """How a folder differs from the version that it was added as or checked out from, or from `against`."""
        root = Path(path).absolute()
        if against is None:
            return status_here(root, self._connection.place.cache)
        version = self.version(against)
        file = IndexFile(self._connection.place.cache, root)
        return status_against(root, file, file.read(), version, files_of(self._connection, version)[0])

    def files(self, reference: str) -> Iterator[ListedFile]:
        """Every file of a version, in order of the paths."""
        after: str | None = ""
        while after is not None:
            page = self._connection.get(
                f"/v1/datasets/versions/{segment(reference)}/files", FilePage, after=after, limit=10_000
            )
            yield from page.items
            after = page.after

    def open(self, reference: str, path: str) -> VersionFile:
        """One file of a version, to be read and sought in; nothing is fetched but what is read."""
        version = self.version(reference)
        entries, reader = files_of(self._connection, version)
        for entry in entries:
            if entry.path == path:
                return VersionFile(entry, reader)
        raise NotFound(f"{version.label} has no file {path!r:.300}{nearest(path, (each.path for each in entries))}")

    def diff(self, first: str, second: str) -> Comparison:
        """What differs between two versions: files, or schema, rows and statistics."""
        return self._connection.get("/v1/datasets/diff", Comparison, first=first, second=second)

    def tag(self, reference: str, tag: str) -> Dataset:
        """Let `name@tag` lead to this version from now on."""
        return self._connection.post("/v1/datasets/tag", Dataset, {"reference": reference, "tag": tag})

    def untag(self, dataset: str, tag: str) -> Dataset:
        return self._connection.post("/v1/datasets/untag", Dataset, {"dataset": dataset, "tag": tag})

    def check(self, table: Any, contract: Contract) -> None:
        """Raise `ContractBroken` unless `table` keeps `contract`; nothing becomes a version."""
        body = {"blob": self._blobs.put(parquet_of(table)), "contract": contract}
        self._connection.post("/v1/datasets/check", dict[str, bool], body)

    def version(self, reference: str) -> DatasetVersion:
        """By id, `name` (the newest), `name@number` or `name@tag`."""
        return self._connection.get(f"/v1/datasets/versions/{segment(reference)}", DatasetVersion)

    def read(self, reference: str, library: str = "polars") -> Any:
        """The table as a frame of a library: polars, pandas, pyarrow or duckdb."""
        version = self.version(reference)
        _note_read(version)
        if len(version.parts) > 1:
            return frame_as(joined([self._blobs.get(part.blob) for part in version.parts]), library)
        return frame_as(frame_of(self._data(version.id)), library)

    def parquet(self, reference: str) -> bytes:
        """The table as Parquet. A run that is active is noted to have read it."""
        if active_run() is not None:
            _note_read(self.version(reference))
        return self._data(reference)

    def _data(self, reference: str) -> bytes:
        return self._connection.download(f"/v1/datasets/versions/{segment(reference)}/data")

    def versions(
        self, dataset: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[DatasetVersion]:
        return self._connection.get(
            "/v1/datasets/versions", Page[DatasetVersion], dataset=dataset, limit=limit, before=before
        )

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._connection.get("/v1/datasets", Page[Dataset], limit=limit, before=before)


def _run(made_by: str | None) -> str:
    """The id of the run that makes a version: the active one, unless it is said."""
    if made_by is not None:
        return made_by
    run = active_run()
    return run.id if run else ""


def _note_read(version: DatasetVersion) -> None:
    """Note that the active run, if there is one, reads it."""
    run = active_run()
    if run is not None:
        run.note_read(version)
