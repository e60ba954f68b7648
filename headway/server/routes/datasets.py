"""Datasets and their versions."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.datasets.comparison import Comparison
from headway.lifecycle.datasets.contract import Contract
from headway.lifecycle.datasets.files import FilePage
from headway.lifecycle.datasets.records import AddFiles, AddVersion, AppendRows, Dataset, DatasetVersion, Pack
from headway.server.routing import TABLE, App, By, get, post


class CheckTable(Value):
    blob: str
    contract: Contract


class Checked(Value):
    holds: bool


class ProvePack(Value):
    blob: str


class TagVersion(Value):
    reference: str
    tag: str


class Untag(Value):
    dataset: str
    tag: str


@post("/v1/datasets/versions")
def add(data: JSONBody[AddVersion], app: App, by: By) -> DatasetVersion:
    """Add the table in a blob as the next version; the same content under the same contract is the one there is."""
    return app.platform.datasets.add(data, by=by)


@post("/v1/datasets/files")
def add_files(data: JSONBody[AddFiles], app: App, by: By) -> DatasetVersion:
    """Add the files of a tree, whose packs are kept already, as the next version; the same files are the newest one."""
    return app.platform.dataset_files.add(data, by=by)


@post("/v1/datasets/packs", status_code=200)
def prove(data: JSONBody[ProvePack], app: App, by: By) -> Pack:
    """Look whether a blob is a pack that holds what its index says; adding files then does not wait for it."""
    return app.platform.dataset_files.prove(data.blob, by=by)


@post("/v1/datasets/rows")
def append(data: JSONBody[AppendRows], app: App, by: By) -> DatasetVersion:
    """Add a version that has the rows of the newest one and those in a blob behind them."""
    return app.platform.datasets.append(data, by=by)


@post("/v1/datasets/tag", status_code=200)
def tag(data: JSONBody[TagVersion], app: App, by: By) -> Dataset:
    """Let `name@tag` lead to a version."""
    return app.platform.datasets.tag(data.reference, data.tag, by=by)


@post("/v1/datasets/untag", status_code=200)
def untag(data: JSONBody[Untag], app: App, by: By) -> Dataset:
    """Take a tag away."""
    return app.platform.datasets.untag(data.dataset, data.tag, by=by)


@get("/v1/datasets/diff")
def diff(app: App, first: FromQuery[str], second: FromQuery[str]) -> Comparison:
    """What differs between two versions."""
    return app.platform.comparisons.compare(first, second)


@get("/v1/datasets/versions/{ref:str}/files")
def files(ref: FromPath[str], app: App, after: FromQuery[str] = "", limit: FromQuery[int] = 1000) -> FilePage:
    """The files of a version, in order of their paths."""
    return app.platform.dataset_files.files(ref, after=after, limit=limit)


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
    """A version by id, by `name` (the newest), by `name@number` or by `name@tag`."""
    return app.platform.datasets.version(ref)


@get("/v1/datasets/versions/{ref:str}/data", media_type=TABLE)
def table(ref: FromPath[str], app: App) -> bytes:
    """The table of a version as Parquet."""
    return app.platform.datasets.table(app.platform.datasets.version(ref))


@post("/v1/datasets/check", status_code=200)
def check(data: JSONBody[CheckTable], app: App, by: By) -> Checked:
    """Whether the table in a blob keeps a contract; nothing becomes a version."""
    app.platform.datasets.check(data.blob, data.contract)
    return Checked(holds=True)


ROUTES = (
    add, add_files, prove, append, tag, untag, diff, files, datasets, versions, version, table, check,
)  # fmt: skip
