"""`headway gate`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, found_by, limit, pass_invocation
from headway.cli.output import print_facts, print_json, print_list, print_section, print_table
from headway.cli.wording import ago, clip, short
from headway.errors import NotFound


@click.group(cls=Noun)
def gate() -> None:
    """Gates: what was measured, and what the verdict was."""


@gate.command("list")
@click.option("--model", "reference", help="Only those on this model version.")
@limit
@pass_invocation
def list_verdicts(invocation: Invocation, reference: str | None, limit: int) -> None:
    """Verdicts, newest first."""
    client = invocation.client
    version = client.models.version(reference).id if reference else None
    print_list(
        invocation.as_json,
        client.gates.list(version, limit=limit),
        {
            "verdict": lambda verdict: short(verdict.id),
            "outcome": lambda verdict: verdict.outcome,
            "environment": lambda verdict: verdict.environment,
            "model version": lambda verdict: short(verdict.model_version),
            "given": lambda verdict: ago(verdict.created_at),
            "why": lambda verdict: clip("; ".join(verdict.reasons)),
        },
        empty="no verdicts yet; `headway ship MODEL` brings a model version to a gate",
    )


@gate.command()
@click.argument("verdict")
@pass_invocation
def show(invocation: Invocation, verdict: str) -> None:
    """A verdict, and what each check found."""
    client = invocation.client
    given = client.gates.verdict(found_by(verdict, client.gates.list))
    evidence = [client.gates.evidence(identifier) for identifier in given.evidence]
    if invocation.as_json:
        print_json({"verdict": given, "evidence": evidence})
        return
    print_facts(
        False,
        given,
        {
            "verdict": given.outcome,
            "id": given.id,
            "environment": given.environment,
            "model": _label(invocation, given.model_version),
            "change": given.change,
            "given": ago(given.created_at),
            "gate": given.gate,
        },
    )
    print_section("Checks")
    print_table(
        ["check", "outcome", "why"], [[item.check, item.finding.outcome, item.finding.reason] for item in evidence]
    )


def _label(invocation: Invocation, identifier: str) -> str:
    try:
        return invocation.client.models.version(identifier).label
    except NotFound:
        return identifier
