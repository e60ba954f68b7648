"""`headway token`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, pass_invocation
from headway.cli.output import print_done, print_facts, print_json, print_list
from headway.cli.wording import ago
from headway.client.tokens import Token
from headway.errors import NotFound
from headway.kernel.access import Role
from headway.kernel.naming import nearest
from headway.kernel.paging import Page


@click.group(cls=Noun)
def token() -> None:
    """Tokens: who may do what."""


@token.command("list")
@pass_invocation
def list_tokens(invocation: Invocation) -> None:
    """All tokens, those that no longer hold too."""
    print_list(
        invocation.as_json,
        Page(items=invocation.client.tokens.list()),
        {
            "name": lambda token: token.name,
            "role": lambda token: token.role,
            "state": _state,
            "made": lambda token: ago(token.created_at),
            "expires": lambda token: ago(token.expires_at) if token.expires_at else "never",
        },
        empty="no tokens",
    )


@token.command()
@click.argument("name")
@pass_invocation
def show(invocation: Invocation, name: str) -> None:
    """One token; its secret was shown when it was made, and is kept nowhere."""
    tokens = invocation.client.tokens.list()
    found = next((token for token in tokens if token.name == name), None)
    if found is None:
        raise NotFound(f"no token named {name!r}{nearest(name, [token.name for token in tokens])}")
    print_facts(
        invocation.as_json,
        found,
        {"token": found.name, "id": found.id, "role": found.role, "state": _state(found),
         "made": ago(found.created_at), "expires": ago(found.expires_at) if found.expires_at else "never"},
    )  # fmt: skip


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do.")
@click.option("--days", type=click.IntRange(min=1), help="For how long; for ever if left out.")
@pass_invocation
def create(invocation: Invocation, name: str, role: str, days: int | None) -> None:
    """Make a token. Its secret is shown this once."""
    granted = invocation.client.tokens.create(name, Role(role), days=days)
    if invocation.as_json:
        print_json(granted)
        return
    click.echo(granted.secret)
    click.echo(f"It is shown this once. {name} uses it as HEADWAY_TOKEN.", err=True)


@token.command()
@click.argument("name")
@pass_invocation
def revoke(invocation: Invocation, name: str) -> None:
    """Make a token worth nothing, at once."""
    invocation.client.tokens.revoke(name)
    print_done(invocation.as_json, {"revoked": name}, f"{name} is revoked")


def _state(token: Token) -> str:
    return "revoked" if token.revoked_at else "valid"
