"""`headway export`, and what it shares with `headway import home`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_json
from headway.cli.wording import size
from headway.client.home import find_home
from headway.engines.secret import read_secret, write_secret
from headway.errors import Conflict, Invalid, NotFound
from headway.kernel.blobs import BlobStore
from headway.kernel.clock import SystemClock
from headway.server.home import Home
from headway.storage.blobs import open_blobs
from headway.storage.sql.portable import PortableDatabase
from headway.storage.sql.stores import open_stores
from headway.storage.transfer import layout
from headway.storage.transfer.exporting import export_home
from headway.storage.transfer.importing import import_home


@click.command(cls=Verb)
@click.argument("place", type=click.Path(path_type=Path))
@click.option("--with-secrets", is_flag=True, help="Also the signing key and the tokens of the home.")
@click.option("--database", default="", envvar="HEADWAY_DATABASE", help="A PostgreSQL URL, instead of SQLite.")
@pass_invocation
def export(invocation: Invocation, place: Path, with_secrets: bool, database: str) -> None:
    """Write the whole home to PLACE, a new folder or a file that ends in .tar, in an open layout.

    It reads the home itself, whether a server runs on it or not, as it is at one moment.
    """
    home = _home(invocation)
    if not database and not home.database.is_file():
        raise NotFound(f"there is no home at {home.folder}; name one with --home")
    others = _others(home, with_secrets=with_secrets)
    with _opened(home, database) as (portable, blobs):
        manifest = export_home(portable, blobs, place, others)
    if invocation.as_json:
        print_json(manifest)
        return
    records = sum(file.rows or 0 for name, file in manifest.files.items() if name.startswith("records/"))
    click.echo(
        f"{records:,} records, {manifest.head.number:,} ledger entries and {manifest.blobs:,} blobs "
        f"({size(manifest.blob_bytes)}) are in {place}"
    )
    if not with_secrets:
        click.echo("The signing key and the tokens' secrets stay here; --with-secrets would take them along.")


def take_home(invocation: Invocation, place: Path, database: str) -> None:
    """Fill the home of `invocation`, which must be empty, from an export."""
    home = _home(invocation)
    home.prepare()
    if home.anchor.exists():
        raise Conflict(f"{home.folder} has a ledger already; import into a new home: --home FOLDER")

    def keep(name: str, content: bytes) -> None:
        if name == layout.PROJECT:
            home.keep_project(content.decode())
        else:
            write_secret(home.folder / name.removeprefix(f"{layout.SECRETS}/"), content)

    with _opened(home, database) as (portable, blobs):
        manifest = import_home(portable, blobs, place, keep)
    if invocation.as_json:
        print_json(manifest)
        return
    click.echo(f"{manifest.head.number:,} ledger entries hold in {home.folder}, and {manifest.blobs:,} blobs are there")
    if not any(name.startswith(layout.SECRETS) for name in manifest.files):
        click.echo(
            "It has a new signing key and new tokens for owner, worker and gatekeeper from its first start on; "
            "releases that were signed before are signed with another key."
        )


def _home(invocation: Invocation) -> Home:
    if invocation.url:
        raise Invalid("this reads and writes the home itself, on its own machine: leave --url out, name it with --home")
    return Home(find_home(invocation.home))


@contextmanager
def _opened(home: Home, database: str) -> Iterator[tuple[PortableDatabase, BlobStore]]:
    opened = open_stores(database or home.database, SystemClock(), home.anchor)
    try:
        yield PortableDatabase(opened.engine), open_blobs(home.blobs)
    finally:
        opened.engine.close()


def _others(home: Home, *, with_secrets: bool) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with suppress(NotFound):
        found[layout.PROJECT] = home.project().encode()
    if with_secrets:
        secret = [home.signing_key, *sorted(home.token("owner").parent.glob("*"))]
        for file in secret:
            if file.is_file() and file.name != "lock":
                found[f"{layout.SECRETS}/{file.relative_to(home.folder)}"] = read_secret(file)
    return found
