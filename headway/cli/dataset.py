"""`headway dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, limit, pass_invocation
from headway.cli.output import lines, print_facts, print_json, print_list
from headway.cli.removal import add_removal
from headway.cli.wording import ago, clip, number, short, size
from headway.client.delta import is_delta, read_delta, write_delta
from headway.client.frames import frame_of, parquet_of
from headway.errors import Invalid, NotFound
from headway.kernel.ids import kind_of
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.describing import described
from headway.lifecycle.datasets.records import DatasetVersion
from headway.lifecycle.datasets.schema import Column

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_TABLE = click.Path(exists=True, path_type=Path)
_contract = click.option("--contract", type=_FILE, help="Its rules, as JSON: what `dataset show --json` has there.")


@click.group(cls=Noun)
def dataset() -> None:
    """Datasets: named lines of immutable tables, held to a contract."""


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
            "rows": lambda version: number(version.rows),
            "columns": lambda version: str(len(version.schema)),
            "size": lambda version: size(version.size),
            "contract": lambda version: "yes" if version.contract else "no",
            "added": lambda version: ago(version.created_at),
            "note": lambda version: clip(version.note, 40),
        },
        empty="no datasets yet; `headway dataset add NAME FILE` adds one",
    )


@dataset.command()
@click.argument("reference")
@pass_invocation
def show(invocation: Invocation, reference: str) -> None:
    """One version: REFERENCE is an id, NAME for the newest, or NAME@NUMBER."""
    version = invocation.client.datasets.version(reference)
    rules = {rule.name: rule for rule in version.contract.columns} if version.contract else {}
    print_facts(
        invocation.as_json,
        version,
        {
            "dataset": version.label,
            "id": version.id,
            "rows": number(version.rows),
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
@click.argument("file", type=_TABLE)
@_contract
@click.option("--note", default="", help="What is special about it.")
@click.option(
    "--version", type=click.IntRange(0), help="Of a Delta Lake table: which of its versions, if not the last."
)
@pass_invocation
def add(
    invocation: Invocation, name: str, file: Path, contract: Path | None, note: str, version: int | None
) -> None:  # fmt: skip
    """Add the CSV, the Parquet or the Delta Lake table in FILE as the next version of NAME.

    Without a contract of its own it is held to that of the version before.
    """
    rules = _read_contract(contract) if contract else None
    table: Any = file
    if is_delta(file):
        table, origin = read_delta(file, version)
        note = f"{note} ({origin})" if note else origin
    elif version is not None or file.is_dir():
        raise Invalid(f"{file} is no Delta Lake table, which alone is a folder and has versions")
    _say(invocation, invocation.client.datasets.add(name, table, contract=rules, note=note))


@dataset.command("write-delta")
@click.argument("reference")
@click.argument("folder", type=click.Path(path_type=Path))
@pass_invocation
def write_delta_table(invocation: Invocation, reference: str, folder: Path) -> None:
    """Write a version to the Delta Lake table in FOLDER, as the next of its versions."""
    version = invocation.client.datasets.version(reference)
    frame = invocation.client.datasets.read(version.id)
    number_there = write_delta(folder, frame, origin=f"{version.label} {version.id}")
    if invocation.as_json:
        print_json({"version": version, "delta_version": number_there})
    else:
        click.echo(f"{version.label}: {number(version.rows)} rows are version {number_there} of {folder}")


@dataset.command()
@click.argument("file", type=_FILE)
@click.option("--contract", type=_FILE, required=True, help="The rules, as JSON.")
@pass_invocation
def check(invocation: Invocation, file: Path, contract: Path) -> None:
    """Hold FILE to a contract, without adding it."""
    invocation.client.datasets.check(file, _read_contract(contract))
    if invocation.as_json:
        print_json({"holds": True})
    else:
        click.echo(f"{file} keeps the contract")


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
    click.echo(f"{version.label}: {number(version.rows)} rows, {size(version.size)} ({short(version.id)})")
    for violation in version.skew:
        click.echo(f"Warning: {violation}")
    if version.contract is None:
        click.echo("It has no contract, so nothing was checked; add one with --contract, or from Python.")


def _read_contract(file: Path) -> Contract:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Contract)
    except msgspec.MsgspecError as error:
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


add_removal(dataset, "REFERENCE", lambda client, text: text if kind_of(text) else client.datasets.version(text).id)
