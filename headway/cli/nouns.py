"""How commands are made: a noun is a group of verbs, each of which takes the shared options too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from headway.cli.invocation import Invocation, shared_options
from headway.errors import Invalid
from headway.kernel.ids import kind_of
from headway.kernel.naming import nearest
from headway.kernel.paging import Page
from headway.kernel.records import Record

pass_invocation = click.make_pass_decorator(Invocation)
limit = click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, newest first."
)  # fmt: skip
why = click.option("--why", required=True, help="The reason; it is kept in the ledger.")
_MOST = 1000
_SHORTEST = 4


class Verb(click.Command):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        shared_options(self)


class Noun(click.Group):
    """Verbs about one noun; a mistyped one is met with the nearest."""

    command_class = Verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise click.UsageError(f"{self.name} has no {args[0]!r}{nearest(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def found_by(text: str, newest: Callable[..., Page[Any]] | Iterable[Record]) -> str:
    """The id that `text` is the short form of, such as `rn_7f3k2m9q`, among the newest; else `text` as it is.

    Raises `Invalid` when several end like it.
    """
    tail = text.rpartition("_")[2]
    if kind_of(text) or len(tail) < _SHORTEST or not tail.isalnum():
        return text
    records = newest(limit=_MOST).items if callable(newest) else newest
    matching = [record.id for record in records if record.id.endswith(tail)]
    if len(matching) > 1:
        raise Invalid(f"{text} may be {' or '.join(matching[:3])}; give more of it")
    return matching[0] if matching else text
