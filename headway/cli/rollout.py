"""`headway rollout`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, found_by, limit, pass_invocation, why
from headway.cli.output import print_facts, print_json, print_list
from headway.cli.traffic import Labels, print_differences, print_standing
from headway.cli.wording import ago, clip, short
from headway.errors import Invalid
from headway.lifecycle.rollouts.records import Rollout


@click.group(cls=Noun)
def rollout() -> None:
    """Rollouts: moves of a deployment from one release to another, by steps."""


@rollout.command()
@click.argument("deployment")
@click.argument("release")
@click.option("--steps", help="Percent of traffic, such as 5,25,100; those of the environment if left out.")
@click.option("--rival", "rivals", multiple=True, help="A further release for a bandit; may be given more than once.")
@click.option("--why", default="", help="The reason; it is kept in the ledger.")
@pass_invocation
def start(
    invocation: Invocation, deployment: str, release: str, steps: str | None, rivals: tuple[str, ...], why: str
) -> None:
    """Begin to move DEPLOYMENT to RELEASE by hand."""
    client = invocation.client
    found, *others = (found_by(each, client.releases.list) for each in (release, *rivals))
    percents = _percents(steps) if steps else ()
    begun = client.rollouts.start(deployment, found, steps=percents, why=why, rivals=others)
    if invocation.as_json:
        print_json(begun)
        return
    shares = ", ".join(f"{step} %" for step in begun.steps)
    click.echo(f"rollout {short(begun.id)} moves {deployment} to {Labels(client).label(begun.candidate)}: {shares}")


def _percents(steps: str) -> tuple[int, ...]:
    try:
        return tuple(int(step) for step in steps.split(","))
    except ValueError:
        raise Invalid(f"--steps takes whole percents with commas between, such as 5,25,100, not {steps!r}") from None


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
            "rivals": ", ".join(labels.label(rival) for rival in found.rivals) or "none",
            "traffic": _traffic(found),
            "steps": ", ".join(f"{step} %" for step in found.steps),
            "started": ago(found.created_at),
            "step since": ago(found.step_at) if found.step_at else "",
            "why": found.reason,
            "change": found.change,
        },
    )
    if not invocation.as_json:
        print_standing(found.standing, labels)
        print_differences(client.deployments.differences(found.deployment, found.candidate), labels)


@rollout.command()
@click.argument("identifier", metavar="ROLLOUT")
@why
@pass_invocation
def pause(invocation: Invocation, identifier: str, why: str) -> None:
    """Stay at the present step; harm still sends the candidate back."""
    rollouts = invocation.client.rollouts
    _print_step(invocation, rollouts.pause(found_by(identifier, rollouts.list), why))


@rollout.command()
@click.argument("identifier", metavar="ROLLOUT")
@why
@pass_invocation
def resume(invocation: Invocation, identifier: str, why: str) -> None:
    """Go on after a pause."""
    rollouts = invocation.client.rollouts
    _print_step(invocation, rollouts.resume(found_by(identifier, rollouts.list), why))


@rollout.command()
@click.argument("identifier", metavar="ROLLOUT")
@why
@pass_invocation
def advance(invocation: Invocation, identifier: str, why: str) -> None:
    """Take the next step now, whatever was shown so far."""
    rollouts = invocation.client.rollouts
    _print_step(invocation, rollouts.advance(found_by(identifier, rollouts.list), why))


def _print_step(invocation: Invocation, rollout: Rollout) -> None:
    if invocation.as_json:
        print_json(rollout)
        return
    candidate = Labels(invocation.client).label(rollout.candidate)
    click.echo(f"rollout {short(rollout.id)} is {rollout.state}: {candidate} has {_traffic(rollout)}")


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
