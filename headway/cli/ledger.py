"""`headway ledger`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, limit, pass_invocation
from headway.cli.output import print_done, print_list
from headway.cli.wording import ago, clip, short
from headway.kernel.ledger import Entry
from headway.kernel.paging import Page


@click.group(cls=Noun)
def ledger() -> None:
    """The ledger: who wrote what, when and why; it cannot be changed unseen."""


@ledger.command("list")
@limit
@pass_invocation
def list_entries(invocation: Invocation, limit: int) -> None:
    """Entries, newest first."""
    _print(invocation, invocation.client.ledger.list(limit=limit))


@ledger.command()
@click.argument("subject")
@limit
@pass_invocation
def show(invocation: Invocation, subject: str, limit: int) -> None:
    """The entries about one record, by its id."""
    _print(invocation, invocation.client.ledger.list(subject=subject, limit=limit))


@ledger.command()
@pass_invocation
def verify(invocation: Invocation) -> None:
    """Read everything again, and find whatever was changed, added or cut off."""
    count = invocation.client.ledger.verify()
    print_done(
        invocation.as_json, {"entries": count}, f"all {count:,} entries hold, and every record is as it was written"
    )


def _print(invocation: Invocation, entries: tuple[Entry, ...]) -> None:
    print_list(
        invocation.as_json,
        Page(items=entries),
        {
            "entry": lambda entry: str(entry.number),
            "at": lambda entry: ago(entry.at),
            "who": lambda entry: entry.actor,
            "did": lambda entry: entry.verb,
            "to": lambda entry: short(entry.subject),
            "why": lambda entry: clip(entry.why),
        },
        empty="nothing was written about that",
    )
