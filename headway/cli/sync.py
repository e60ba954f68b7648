"""`headway sync`."""

from __future__ import annotations

import sys

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_json


@click.command(cls=Verb)
@pass_invocation
def sync(invocation: Invocation) -> None:
    """Send what runs logged while the server was away, or before they were killed."""
    shipped = invocation.client.sync()
    if invocation.as_json:
        print_json({"items": shipped})
    elif not shipped:
        click.echo("nothing waits to be sent")
    for item in [] if invocation.as_json else shipped:
        said = f"not sent: {item.error}" if item.error else f"{item.frames} calls sent"
        click.echo(f"{item.run or item.path}  {said}")
    if any(item.error for item in shipped):
        sys.exit(1)
