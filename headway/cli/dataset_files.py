"""The verbs of `headway dataset` for files, and for what two versions have in common."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, limit, pass_invocation
from headway.cli.output import print_done, print_json, print_list, print_table
from headway.cli.progress import Progress
from headway.cli.wording import ago, clip, counted, number, size
from headway.client.home import find_home
from headway.kernel.ids import kind_of
from headway.lifecycle.datasets.comparison import ColumnDifference, ColumnStatistics, Comparison, FileChange
from headway.lifecycle.datasets.records import DatasetVersion, Form

_MOST_SHOWN = 50
_STATISTICS = ("n", "nulls", "mean", "sd", "low", "high")
only = click.option(
    "--only", multiple=True, metavar="GLOB", help="Only files that match, such as 'train/**'; may be repeated."
)  # fmt: skip


def add_file_verbs(noun: click.Group) -> None:
    for command in (checkout, status, files, diff, log, tag, untag, append, rm):
        noun.add_command(command)


@click.command(cls=Verb)
@click.argument("reference")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@only
@click.option("--force", is_flag=True, help="Overwrite files that no version is known to have.")
@pass_invocation
def checkout(invocation: Invocation, reference: str, folder: Path, only: tuple[str, ...], force: bool) -> None:
    """Bring the files of a version into FOLDER. REFERENCE is NAME, NAME@NUMBER, NAME@TAG or an id."""
    from headway.cli.direct import datasets_of  # noqa: PLC0415

    with datasets_of(invocation) as datasets, Progress("written", hidden=invocation.as_json, unit="bytes") as progress:
        done = datasets.checkout(reference, folder, only=only, force=force, advance=progress.advance)
    if invocation.as_json:
        print_json(done)
        return
    removed = f", {number(done.removed)} removed" if done.removed else ""
    click.echo(f"{done.version}: {counted(done.written, 'file')} written, {number(done.kept)} were there{removed}")


@click.command(cls=Verb)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--against", metavar="REFERENCE", help="The version to compare with, instead of the one it came from.")
@pass_invocation
def status(invocation: Invocation, path: Path, against: str | None) -> None:
    """Show how PATH differs from the version that it was added as or checked out from."""
    if against is None:
        from headway.client.files.comparing import status_here  # noqa: PLC0415

        found = status_here(path.absolute(), find_home(invocation.home) / "cache")  # no server needs to be asked
    else:
        found = invocation.client.datasets.status(path, against)
    if invocation.as_json:
        print_json(found)
        return
    if found.same:
        click.echo(f"{path} is {found.version}: {counted(found.files, 'file')}")
        return
    click.echo(f"{path} is {found.version}, but for:")
    for word, paths in (("added", found.added), ("changed", found.changed), ("removed", found.removed)):
        for each in paths[:_MOST_SHOWN]:
            click.echo(f"  {word:8} {each}")
        if len(paths) > _MOST_SHOWN:
            click.echo(f"  {word:8} and {number(len(paths) - _MOST_SHOWN)} more; --json lists them all")


@click.command("files", cls=Verb)
@click.argument("reference")
@pass_invocation
def files(invocation: Invocation, reference: str) -> None:
    """List the files of a version."""
    found = list(invocation.client.datasets.files(reference))
    if invocation.as_json:
        print_json({"items": found})
        return
    for each in found:
        click.echo(f"{each.digest}  {each.size:>14}  {each.path}{'*' if each.executable else ''}")


@click.command(cls=Verb)
@click.argument("first")
@click.argument("second")
@pass_invocation
def diff(invocation: Invocation, first: str, second: str) -> None:
    """Show what differs between two versions: files, or schema, rows and statistics."""
    found = invocation.client.datasets.diff(first, second)
    if invocation.as_json:
        print_json(found)
        return
    if found.same:
        click.echo(f"{found.first} and {found.second} hold the same")
        return
    click.echo(f"{found.first} -> {found.second}: {size(found.size_before)} -> {size(found.size_after)}")
    if found.form is Form.FILES:
        _print_files(found)
    else:
        _print_columns(found)


def holds(version: DatasetVersion) -> str:
    return counted(version.files, "file") if version.form is Form.FILES else counted(version.rows, "row")


def _print_files(found: Comparison) -> None:
    assert found.files is not None
    by = found.files
    click.echo(
        f"{number(by.added)} added, {number(by.changed)} changed, {number(by.moved)} moved, "
        f"{number(by.removed)} removed"
    )
    for change in by.changes[:_MOST_SHOWN]:
        click.echo(f"  {_told(change)}")
    if len(by.changes) > _MOST_SHOWN:
        click.echo("  ... and more; --json lists them")


def _told(change: FileChange) -> str:
    if change.moved_from:
        return f"moved    {change.moved_from} -> {change.path}"
    if change.size_before is None:
        return f"added    {change.path}  {size(change.size_after or 0)}"
    if change.size_after is None:
        return f"removed  {change.path}  {size(change.size_before)}"
    return f"changed  {change.path}  {size(change.size_before)} -> {size(change.size_after)}"


def _print_columns(found: Comparison) -> None:
    click.echo(f"rows: {number(found.rows_before)} -> {number(found.rows_after)}")
    if found.columns:
        print_table(["column", "kind", *_STATISTICS], [_row(column) for column in found.columns])


def _row(column: ColumnDifference) -> list[str]:
    before, after = column.before or ColumnStatistics(n=0, nulls=0), column.after or ColumnStatistics(n=0, nulls=0)
    pairs = (
        (column.kind_before or "none", column.kind_after or "none"),
        *((number(getattr(before, name)), number(getattr(after, name))) for name in _STATISTICS),
    )
    return [column.name, *(old if old == new else f"{old} -> {new}" for old, new in pairs)]


@click.command(cls=Verb)
@click.argument("name")
@limit
@pass_invocation
def log(invocation: Invocation, name: str, limit: int) -> None:
    """Show how NAME came to be what it is: its versions, what each one added, and tags."""
    client = invocation.client
    page = client.datasets.versions(name, limit=limit)
    lines = [each for each in client.datasets.list(limit=1000).items if each.name == name] if page.items else []
    tags = {number: tag for line in lines for tag, number in sorted(line.tagged.items())}
    print_list(
        invocation.as_json,
        page,
        {
            "version": lambda version: version.label,
            "tag": lambda version: tags.get(version.number, ""),
            "holds": holds,
            "size": lambda version: size(version.size),
            "new rows": lambda version: number(version.new_rows) if version.form is Form.TABLE else "",
            "stored": lambda version: size(version.stored),
            "added": lambda version: ago(version.created_at),
            "skew": lambda version: clip(", ".join(f"{each.column} {each.rule}" for each in version.skew), 40),
            "made by": lambda version: version.made_by,
            "note": lambda version: clip(version.note, 40),
        },
        empty=f"there is no version of {name}; `headway dataset add` adds one",
    )


@click.command(cls=Verb)
@click.argument("reference")
@click.argument("tag")
@pass_invocation
def tag(invocation: Invocation, reference: str, tag: str) -> None:
    """Let NAME@TAG lead to a version from now on, whatever it led to before."""
    line = invocation.client.datasets.tag(reference, tag)
    print_done(invocation.as_json, line, f"{line.name}@{tag} is {line.name}@{line.tagged[tag]}")


@click.command(cls=Verb)
@click.argument("name")
@click.argument("tag")
@pass_invocation
def untag(invocation: Invocation, name: str, tag: str) -> None:
    """Take a tag away; the version stays."""
    line = invocation.client.datasets.untag(name, tag)
    print_done(invocation.as_json, line, f"{line.name}@{tag} leads nowhere now")


@click.command(cls=Verb)
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", default="", help="What is special about it.")
@pass_invocation
def append(invocation: Invocation, name: str, file: Path, note: str) -> None:
    """Add a version of the table NAME that has the rows of FILE behind those of the newest one."""
    version = invocation.client.datasets.append(name, file, note=note)
    print_done(
        invocation.as_json,
        version,
        f"{version.label}: {counted(version.rows, 'row')}, {size(version.stored)} of them new",
    )


@click.command(cls=Verb)
@click.argument("reference")
@click.option("--purge", "why", metavar="WHY", help="Purge it too, for this reason, which the ledger keeps.")
@pass_invocation
def rm(invocation: Invocation, reference: str, why: str | None) -> None:
    """Short for `dataset delete`; with --purge WHY, for that and `dataset purge`."""
    client = invocation.client
    identifier = reference if kind_of(reference) else client.datasets.version(reference).id
    standing = client.records.delete(identifier)
    purged = client.records.purge(identifier, why) if why else None
    if invocation.as_json:
        print_json(purged or standing)
    elif purged:
        click.echo(f"{standing.name} is purged; its bytes go with the next collection: headway gc")
    else:
        click.echo(f"{standing.name} is put aside; back with: headway dataset restore {shlex.quote(identifier)}")
