"""Datasets, over a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway.client.active import active_run
from headway.client.blobs import Blobs
from headway.client.frames import frame_as, frame_of, parquet_of
from headway.client.http import Connection, segment
from headway.kernel.paging import Page
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.records import AddVersion, Dataset, DatasetVersion


class Datasets:
    def __init__(self, connection: Connection) -> None:
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

        The same content under the same contract is the version that is there already. `made_by` is the id of the run
        that made it, the active one if left out. Raises `ContractBroken`, and then keeps nothing.
        """
        if made_by is None:
            run = active_run()
            made_by = run.id if run else ""
        command = AddVersion(
            dataset=name, blob=self._blobs.put(parquet_of(table)), contract=contract, note=note, made_by=made_by,
            came_from=tuple(came_from),
        )  # fmt: skip
        return self._connection.post("/v1/datasets/versions", DatasetVersion, command)

    def check(self, table: Any, contract: Contract) -> None:
        """Raise `ContractBroken` unless `table` keeps `contract`; nothing becomes a version."""
        body = {"blob": self._blobs.put(parquet_of(table)), "contract": contract}
        self._connection.post("/v1/datasets/check", dict[str, bool], body)

    def version(self, reference: str) -> DatasetVersion:
        """By id, `name` (the newest) or `name@number`."""
        return self._connection.get(f"/v1/datasets/versions/{segment(reference)}", DatasetVersion)

    def read(self, reference: str, library: str = "polars") -> Any:
        """The table as a frame of a library: polars, pandas, pyarrow or duckdb."""
        return frame_as(frame_of(self.parquet(reference)), library)

    def parquet(self, reference: str) -> bytes:
        """The table as Parquet. A run that is active is noted to have read it."""
        run = active_run()
        if run is not None:
            run.note_read(self.version(reference))
        return self._connection.download(f"/v1/datasets/versions/{segment(reference)}/data")

    def versions(
        self, dataset: str | None = None, *, limit: int = 100, before: str | None = None
    ) -> Page[DatasetVersion]:
        return self._connection.get(
            "/v1/datasets/versions", Page[DatasetVersion], dataset=dataset, limit=limit, before=before
        )

    def list(self, *, limit: int = 100, before: str | None = None) -> Page[Dataset]:
        return self._connection.get("/v1/datasets", Page[Dataset], limit=limit, before=before)
