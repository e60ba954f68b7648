"""`headway remote`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, pass_invocation
from headway.cli.output import print_done, print_json, print_table
from headway.client.home import find_home
from headway.storage.remotes.named import Remotes


@click.group(cls=Noun)
def remote() -> None:
    """Remotes: folders and object stores that datasets are pushed to and fetched from."""


@remote.command("list")
@pass_invocation
def list_remotes(invocation: Invocation) -> None:
    """The remotes of this home."""
    known = _remotes(invocation).all()
    if invocation.as_json:
        print_json({"items": known})
    elif known:
        print_table(["remote", "url"], [[each.name, each.url] for each in known])
    else:
        click.echo("no remotes yet; `headway remote add NAME ADDRESS` names one")


@remote.command()
@click.argument("name")
@click.argument("address")
@pass_invocation
def add(invocation: Invocation, name: str, address: str) -> None:
    """Give ADDRESS a name: a folder, s3://bucket/path, gs://... or az://..., without credentials in it."""
    made = _remotes(invocation).add(name, address)
    print_done(
        invocation.as_json,
        made,
        f"{made.name} is {made.url}; push to it with: headway dataset push DATASET --remote {made.name}",
    )


@remote.command()
@click.argument("name")
@pass_invocation
def remove(invocation: Invocation, name: str) -> None:
    """Forget a remote. What is there stays."""
    gone = _remotes(invocation).remove(name)
    print_done(invocation.as_json, gone, f"{gone.name} is forgotten; {gone.url} is as it was")


def _remotes(invocation: Invocation) -> Remotes:
    return Remotes(find_home(invocation.home))
