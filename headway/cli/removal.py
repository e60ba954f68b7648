"""`delete`, `restore` and `purge`: the same three verbs of every noun whose things may go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation, why
from headway.cli.output import print_json
from headway.cli.wording import short

if TYPE_CHECKING:
    from headway.client.client import Client
    from headway.lifecycle.retention.records import Standing

Find = Callable[["Client", str], str]
"""The id of what was named on the command line."""


def add_removal(noun: click.Group, metavar: str, find: Find) -> None:
    """Give `noun` the three verbs."""
    name = noun.name

    @noun.command(cls=Verb, help=f"Put {metavar} aside: it is shown no more, and can be restored.")
    @click.argument("identifier", metavar=metavar)
    @pass_invocation
    def delete(invocation: Invocation, identifier: str) -> None:
        client = invocation.client
        standing = client.records.delete(find(client, identifier))
        _print(invocation, standing, f"Back with: headway {name} restore {short(standing.id)}")

    @noun.command(cls=Verb, help=f"Take {metavar} back, which was deleted.")
    @click.argument("identifier", metavar=metavar)
    @pass_invocation
    def restore(invocation: Invocation, identifier: str) -> None:
        client = invocation.client
        _print(invocation, client.records.restore(find(client, identifier)), "")

    @noun.command(cls=Verb, help=f"Remove {metavar}, which was deleted, with its parts for good.")
    @click.argument("identifier", metavar=metavar)
    @why
    @pass_invocation
    def purge(invocation: Invocation, identifier: str, why: str) -> None:
        client = invocation.client
        purged = client.records.purge(find(client, identifier), why)
        if invocation.as_json:
            print_json(purged)
            return
        click.echo(f"{purged.tombstone.name} ({short(purged.tombstone.id)}) is purged: {purged.records:,} records")
        click.echo("The bytes go with the next collection: headway gc")


def _print(invocation: Invocation, standing: Standing, hint: str) -> None:
    if invocation.as_json:
        print_json(standing)
        return
    click.echo(f"{standing.name} ({short(standing.id)}) is {'deleted' if standing.deleted else 'back'}")
    if hint:
        click.echo(hint)
