"""`headway release`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, found_by, limit, pass_invocation
from headway.cli.output import lines, print_done, print_facts, print_list
from headway.cli.wording import ago, short


@click.group(cls=Noun)
def release() -> None:
    """Releases: the signed decisions that a model version may run in an environment."""


@release.command("list")
@click.option("--environment", help="Only those for this environment.")
@limit
@pass_invocation
def list_releases(invocation: Invocation, environment: str | None, limit: int) -> None:
    """Releases, newest first."""
    print_list(
        invocation.as_json,
        invocation.client.releases.list(environment, limit=limit),
        {
            "release": lambda release: short(release.id),
            "model": lambda release: release.label,
            "environment": lambda release: release.environment,
            "let in by": lambda release: "break-glass" if release.break_glass else "its gate",
            "approvals": lambda release: str(len(release.approvals)),
            "signed": lambda release: ago(release.created_at),
        },
        empty="no releases yet; one is signed when a change has passed its gate and was approved",
    )


@release.command()
@click.argument("identifier", metavar="RELEASE")
@pass_invocation
def show(invocation: Invocation, identifier: str) -> None:
    """One release."""
    releases = invocation.client.releases
    found = releases.get(found_by(identifier, releases.list))
    print_facts(
        invocation.as_json,
        found,
        {
            "release": found.label,
            "id": found.id,
            "environment": found.environment,
            "change": found.change,
            "verdict": found.verdict,
            "approvals": lines(found.approvals),
            "break-glass": found.break_glass,
            "signed": ago(found.created_at),
            "signed with": found.envelope.key if found.envelope else "nothing",
            "model version": found.model_version,
            "blob": found.blob,
        },
    )


@release.command()
@click.argument("identifier", metavar="RELEASE")
@pass_invocation
def check(invocation: Invocation, identifier: str) -> None:
    """Check a release's signature, and that it says what the record says."""
    releases = invocation.client.releases
    found = releases.check(found_by(identifier, releases.list))
    print_done(
        invocation.as_json, found, f"the signature of {found.label} for {found.environment} holds ({short(found.id)})"
    )
