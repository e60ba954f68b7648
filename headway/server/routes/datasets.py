"""Datasets and their versions."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.records import AddVersion, Dataset, DatasetVersion
from headway.server.routing import TABLE, App, By, get, post


class CheckTable(Value):
    blob: str
    contract: Contract


class Checked(Value):
    holds: bool


@post("/v1/datasets/versions")
def add(data: JSONBody[AddVersion], app: App, by: By) -> DatasetVersion:
    """Add the table in a blob as the next version; the same content under the same contract is the one there is."""
    return app.platform.datasets.add(data, by=by)


@get("/v1/datasets")
def datasets(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[Dataset]:
    """All datasets."""
    return app.platform.datasets.list(limit=limit, before=before)


@get("/v1/datasets/versions")
def versions(
    app: App, dataset: FromQuery[str | None] = None, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None
) -> Page[DatasetVersion]:
    """The versions of one dataset, or of all."""
    return app.platform.datasets.versions(dataset, limit=limit, before=before)


@get("/v1/datasets/versions/{ref:str}")
def version(ref: FromPath[str], app: App) -> DatasetVersion:
    """A version by id, by `name` (the newest) or by `name@number`."""
    return app.platform.datasets.version(ref)


@get("/v1/datasets/versions/{ref:str}/data", media_type=TABLE)
def table(ref: FromPath[str], app: App) -> bytes:
    """The table of a version as Parquet."""
    return app.blobs.get(app.platform.datasets.version(ref).blob)


@post("/v1/datasets/check", status_code=200)
def check(data: JSONBody[CheckTable], app: App, by: By) -> Checked:
    """Whether the table in a blob keeps a contract; nothing becomes a version."""
    app.platform.datasets.check(data.blob, data.contract)
    return Checked(holds=True)


ROUTES = (add, datasets, versions, version, table, check)
