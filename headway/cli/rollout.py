"""`headway rollout`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, found_by, limit, pass_invocation, why
from headway.cli.output import print_facts, print_json, print_list
from headway.cli.traffic import Labels
from headway.cli.wording import ago, clip, short
from headway.lifecycle.rollouts.records import Rollout


@click.group(cls=Noun)
def rollout() -> None:
    """Rollouts: moves of a deployment from one release to another, by steps."""


@rollout.command("list")
@click.option("--deployment", help="Only those of this deployment.")
@limit
@pass_invocation
def list_rollouts(invocation: Invocation, deployment: str | None, limit: int) -> None:
    """Rollouts, newest first."""
    labels = Labels(invocation.client)
    print_list(
        invocation.as_json,
        invocation.client.rollouts.list(deployment, limit=limit),
        {
            "rollout": lambda rollout: short(rollout.id),
            "deployment": lambda rollout: rollout.deployment,
            "candidate": lambda rollout: labels.label(rollout.candidate),
            "state": lambda rollout: rollout.state,
            "traffic": _traffic,
            "started": lambda rollout: ago(rollout.created_at),
            "why": lambda rollout: clip(rollout.reason),
        },
        empty="no rollouts yet; a change starts one once its release is signed",
    )


@rollout.command()
@click.argument("identifier", metavar="ROLLOUT")
@pass_invocation
def show(invocation: Invocation, identifier: str) -> None:
    """One rollout."""
    client = invocation.client
    found = client.rollouts.get(found_by(identifier, client.rollouts.list))
    labels = Labels(client)
    print_facts(
        invocation.as_json,
        found,
        {
            "rollout": found.state,
            "id": found.id,
            "deployment": found.deployment,
            "candidate": labels.label(found.candidate),
            "incumbent": labels.label(found.incumbent) if found.incumbent else "none",
            "traffic": _traffic(found),
            "steps": ", ".join(f"{step} %" for step in found.steps),
            "started": ago(found.created_at),
            "step since": ago(found.step_at) if found.step_at else "",
            "why": found.reason,
            "change": found.change,
        },
    )


@rollout.command("roll-back")
@click.argument("identifier", metavar="ROLLOUT")
@why
@pass_invocation
def roll_back(invocation: Invocation, identifier: str, why: str) -> None:
    """Give all traffic back to what served before."""
    rollouts = invocation.client.rollouts
    ended = rollouts.roll_back(found_by(identifier, rollouts.list), why)
    if invocation.as_json:
        print_json(ended)
        return
    back = Labels(invocation.client).label(ended.incumbent) if ended.incumbent else "nothing, as before it"
    click.echo(f"{ended.deployment} is rolled back; it serves {back}")


def _traffic(rollout: Rollout) -> str:
    return f"{rollout.percent} %"
