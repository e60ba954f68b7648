"""`headway dataset`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec

from headway.cli.dataset_files import add_file_verbs, holds
from headway.cli.dataset_remotes import add_remote_verbs
from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, limit, pass_invocation
from headway.cli.output import lines, print_done, print_facts, print_json, print_list
from headway.cli.progress import Progress
from headway.cli.removal import add_removal
from headway.cli.wording import ago, clip, number, short, size
from headway.client.delta import is_delta, read_delta, write_delta
from headway.client.files.pointer import SUFFIX, pointer_to, write_pointer
from headway.client.frames import frame_of, parquet_of
from headway.errors import Invalid, NotFound
from headway.kernel.ids import kind_of
from headway.kernel.records import UNREADABLE
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.describing import described
from headway.lifecycle.datasets.records import DatasetVersion, Form
from headway.lifecycle.datasets.schema import Column

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_TABLES = (".csv", ".parquet", ".tsv", ".txt")
_contract = click.option("--contract", type=_FILE, help="Its rules, as JSON: what `dataset show --json` has there.")


@click.group(cls=Noun)
def dataset() -> None:
    """Datasets: named lines of immutable tables, held to a contract, and of folders of files."""


@dataset.command("list")
@click.argument("name", required=False)
@limit
@pass_invocation
def list_versions(invocation: Invocation, name: str | None, limit: int) -> None:
    """Versions, newest first; all of them, or those of NAME."""
    print_list(
        invocation.as_json,
        invocation.client.datasets.versions(name, limit=limit),
        {
            "version": lambda version: version.label,
            "holds": holds,
            "size": lambda version: size(version.size),
            "contract": lambda version: "yes" if version.contract else "no",
            "added": lambda version: ago(version.created_at),
            "note": lambda version: clip(version.note, 40),
        },
        empty="no datasets yet; `headway dataset add NAME PATH` adds one",
    )


@dataset.command()
@click.argument("reference")
@pass_invocation
def show(invocation: Invocation, reference: str) -> None:
    """One version: REFERENCE is an id, NAME for the newest, NAME@NUMBER or NAME@TAG."""
    version = invocation.client.datasets.version(reference)
    rules = {rule.name: rule for rule in version.contract.columns} if version.contract else {}
    print_facts(
        invocation.as_json,
        version,
        {
            "dataset": version.label,
            "id": version.id,
            "rows": number(version.rows) if version.form is Form.TABLE else "",
            "parts": number(len(version.parts)) if version.parts else "",
            "files": number(version.files) if version.files else "",
            "digest": version.digest,
            "packs": number(len(version.packs)) if version.packs else "",
            "stored": size(version.stored) if version.stored else "",
            "size": size(version.size),
            "added": ago(version.created_at),
            "made by": version.made_by,
            "note": version.note,
            "blob": version.blob,
            "contract": version.contract.digest if version.contract else "none",
            "skew": lines(map(str, version.skew)),
            "columns": lines(_column(column, rules.get(column.name)) for column in version.schema),
        },
    )


@dataset.command()
@click.argument("name")
@click.argument("path")
@_contract
@click.option("--note", default="", help="What is special about it.")
@click.option("--version", type=click.IntRange(0), help="Of a Delta Lake table: which one, if not its last.")
@click.option("--files", "as_files", is_flag=True, help="Keep a table as the files that it is.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out what matches; may be repeated.")
@click.option("--pointer", is_flag=True, help=f"Write PATH{SUFFIX}, to be kept in a repository.")
@pass_invocation
def add(
    invocation: Invocation, name: str, path: str, contract: Path | None, note: str, version: int | None,
    as_files: bool, exclude: tuple[str, ...], pointer: bool,
) -> None:  # fmt: skip
    """Add PATH as the next version of NAME: a CSV, a Parquet or a Delta Lake table, a folder or any other file as
    files.

    A URI such as s3://bucket/folder is read first. Without a contract of its own a table is held to that of the
    version before.
    """
    place = Path(path)
    is_table = not as_files and (is_delta(place) or (not place.is_dir() and place.suffix.lower() in _TABLES))
    if version is not None and not is_delta(place):
        raise Invalid(f"{path} is no Delta Lake table, which alone has versions")
    if "://" in path:
        added = _add_from(invocation, name, path, note, exclude)
    elif is_table:
        added = _add_table(invocation, name, place, contract, note, version)
    elif contract:
        raise Invalid("a contract holds for a table; files have none")
    else:
        added = add_files(invocation, name, place, note, exclude)
    if pointer:
        there = place.absolute()
        write_pointer(there.with_name(there.name + SUFFIX), pointer_to(added, there.name))
    _say(invocation, added)


def _add_table(
    invocation: Invocation, name: str, path: Path, contract: Path | None, note: str, version: int | None
) -> DatasetVersion:
    rules = _read_contract(contract) if contract else None
    table: Any = path
    if is_delta(path):
        table, origin = read_delta(path, version)
        note = f"{note} ({origin})" if note else origin
    return invocation.client.datasets.add(name, table, contract=rules, note=note)


@dataset.command("write-delta")
@click.argument("reference")
@click.argument("folder", type=click.Path(path_type=Path))
@pass_invocation
def write_delta_table(invocation: Invocation, reference: str, folder: Path) -> None:
    """Write a version to the Delta Lake table in FOLDER, as the next of its versions."""
    version = invocation.client.datasets.version(reference)
    frame = invocation.client.datasets.read(version.id)
    number_there = write_delta(folder, frame, origin=f"{version.label} {version.id}")
    print_done(
        invocation.as_json,
        {"version": version, "delta_version": number_there},
        f"{version.label}: {number(version.rows)} rows are version {number_there} of {folder}",
    )


def add_files(invocation: Invocation, name: str, path: Path, note: str, exclude: tuple[str, ...]) -> DatasetVersion:
    from headway.cli.direct import datasets_of  # noqa: PLC0415

    with datasets_of(invocation) as datasets, Progress("read", hidden=invocation.as_json, unit="bytes") as progress:
        return datasets.add_files(name, path, note=note, exclude=exclude, advance=progress.advance)


def _add_from(invocation: Invocation, name: str, uri: str, note: str, exclude: tuple[str, ...]) -> DatasetVersion:
    from headway.storage.remotes.sources import fetch_all  # noqa: PLC0415

    invocation.client.me()  # before much is fetched: is there a server that knows us
    with TemporaryDirectory(prefix="headway-add-") as folder:
        with Progress("fetched", hidden=invocation.as_json, unit="bytes") as progress:
            fetch_all(uri, Path(folder) / "files", progress.advance)
        return add_files(invocation, name, Path(folder) / "files", note or f"from {uri}", exclude)


@dataset.command()
@click.argument("file", type=_FILE)
@click.option("--contract", type=_FILE, required=True, help="The rules, as JSON.")
@pass_invocation
def check(invocation: Invocation, file: Path, contract: Path) -> None:
    """Hold FILE to a contract, without adding it."""
    invocation.client.datasets.check(file, _read_contract(contract))
    print_done(invocation.as_json, {"holds": True}, f"{file} keeps the contract")


@dataset.command()
@click.argument("file", type=_FILE)
@click.option("--label", help="The column that holds the truth.")
@click.option("--time", help="The column that holds the time of the event.")
@click.option("--key", help="The column that names a row.")
@click.option("--ban", multiple=True, metavar="COLUMN", help="A column that no model may use; may be repeated.")
def draft(file: Path, label: str | None, time: str | None, key: str | None, ban: tuple[str, ...]) -> None:
    """Print a first contract that FILE keeps, as JSON, to be edited and used with --contract."""
    from headway.engines.tables.contracts import infer_contract  # noqa: PLC0415

    drafted = infer_contract(frame_of(parquet_of(file)), label=label, time=time, key=key, banned=ban)
    print_json(drafted)


@dataset.command()
@click.argument("reference")
@click.option("--markdown", is_flag=True, help="As a page for people.")
@pass_invocation
def contract(invocation: Invocation, reference: str, markdown: bool) -> None:
    """The contract of a version, as JSON to be edited and used with --contract, or as a page."""
    version = invocation.client.datasets.version(reference)
    if version.contract is None:
        raise NotFound(f"{version.label} has no contract; `headway dataset draft` makes a first one")
    if markdown:
        click.echo(described(version.contract, version.label), nl=False)
    else:
        print_json(version.contract)


def _say(invocation: Invocation, version: DatasetVersion) -> None:
    if invocation.as_json:
        print_json(version)
        return
    click.echo(f"{version.label}: {holds(version)}, {size(version.size)}{_new(version)} ({short(version.id)})")
    for violation in version.skew:
        click.echo(f"Warning: {violation}")
    if version.contract is None and version.form is Form.TABLE:
        click.echo("It has no contract, so nothing was checked; add one with --contract, or from Python.")


def _new(version: DatasetVersion) -> str:
    if version.form is Form.FILES:
        return f", {size(version.stored)} of it new"
    if version.stored >= version.size:
        return ""
    return f", {number(version.new_rows)} rows and {size(version.stored)} of it new"


def _read_contract(file: Path) -> Contract:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Contract)
    except UNREADABLE as error:
        raise Invalid(f"{file} holds no contract: {error}") from None


def _column(column: Column, rule: ColumnRule | None) -> str:
    if rule is None:
        return f"{column.name}: {column.kind}"
    demands = [
        rule.use if rule.use != "feature" else "",
        f"nulls <= {rule.nulls:.1%}" if rule.nulls else "",
        f">= {rule.low:g}" if rule.low is not None else "",
        f"<= {rule.high:g}" if rule.high is not None else "",
        f"{len(rule.levels)} levels" if rule.levels is not None else "",
        rule.unit,
    ]
    return f"{column.name}: {column.kind}  {', '.join(filter(None, demands))}".rstrip()


add_file_verbs(dataset)
add_remote_verbs(dataset)
add_removal(dataset, "REFERENCE", lambda client, text: text if kind_of(text) else client.datasets.version(text).id)
