"""`headway import`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, Verb, pass_invocation
from headway.cli.output import print_json, print_section, print_table
from headway.cli.wording import size

if TYPE_CHECKING:
    from headway.client.mlflow.importing import Report, Taken

_ORDER = (
    "experiments", "runs", "params", "metric points", "dataset inputs", "files", "logged models", "registered models",
    "model versions", "traces",
)  # fmt: skip
_MOST_LEFT = 20


class Imports(Noun):
    """`headway import FOLDER` is short for `headway import home FOLDER`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["home", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=Imports, name="import", subcommand_metavar="PLACE | COMMAND [ARGS]...")
def imports() -> None:
    """Take over an MLflow server, or a home that `headway export` wrote."""


@imports.command(cls=Verb)
@click.argument("place", type=click.Path(path_type=Path))
@click.option("--database", default="", envvar="HEADWAY_DATABASE", help="A PostgreSQL URL, instead of SQLite.")
@pass_invocation
def home(invocation: Invocation, place: Path, database: str) -> None:
    """Fill an empty home from the export at PLACE, a folder or a .tar. All of it is checked before."""
    from headway.cli.export import take_home  # noqa: PLC0415

    take_home(invocation, place, database)


@imports.command(cls=Verb)
@click.argument("uri")
@click.option("--experiment", "experiments", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--deleted", is_flag=True, help="Also what is deleted there; it is deleted here too.")
@click.option("--again", is_flag=True, help="Fetch points and files also of runs that seem unchanged.")
@click.option(
    "--artifacts", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the files of a database are, if a server kept them.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be taken.")
@pass_invocation
def mlflow(
    invocation: Invocation, uri: str, experiments: tuple[str, ...], deleted: bool, again: bool,
    artifacts: Path | None, dry_run: bool,
) -> None:  # fmt: skip
    """Take over an MLflow tracking server at URI, such as http://127.0.0.1:5000, or a database, sqlite:///mlflow.db.

    This process reads from it, and hands in to the home or the server here. Import again as often as you like: only
    what is new is fetched.
    """
    from headway.client.mlflow.importing import Choice, MlflowImport  # noqa: PLC0415
    from headway.client.mlflow.opening import open_source  # noqa: PLC0415

    choice = Choice(experiments=experiments, deleted=deleted, again=again, dry_run=dry_run)
    with closing(open_source(uri, os.environ, artifacts)) as source, _progress(invocation) as report:
        taken = MlflowImport(source, invocation.client, choice, report).run()
    _say(invocation, taken, dry_run=dry_run)


def _say(invocation: Invocation, taken: Taken, *, dry_run: bool) -> None:
    if invocation.as_json:
        left = [{"what": what, "why": why} for what, why in taken.left]
        print_json({"taken": dict(taken.counts), "known": dict(taken.known), "left_out": left})
        return
    rows = [
        [name, f"{taken.counts[name]:,}", f"{taken.known[name]:,}" if taken.known[name] else ""]
        for name in _ORDER
        if taken.counts[name] or taken.known[name]
    ]
    print_table(["what", "would be taken" if dry_run else "taken", "here already"], rows)
    if taken.counts["bytes"]:
        click.echo(f"\n{size(taken.counts['bytes'])} of files were read.")
    if taken.left:
        print_section(f"Left out: {len(taken.left)}")
        for what, why in taken.left[:_MOST_LEFT]:
            click.echo(f"  {what}: {why}")
        if len(taken.left) > _MOST_LEFT:
            click.echo(f"  and {len(taken.left) - _MOST_LEFT} more; --json shows them all")


@contextmanager
def _progress(invocation: Invocation) -> Iterator[Report | None]:
    """A line that is written over on a terminal, a line for each experiment elsewhere, none with --json."""
    if invocation.as_json:
        yield None
        return
    if not sys.stderr.isatty():
        yield lambda name, runs: click.echo(f"{name}: {runs:,} runs looked at", err=True)
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True).status("asking for experiments") as status:
        yield lambda name, runs: status.update(f"{name}: {runs:,} runs looked at")
