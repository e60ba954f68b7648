"""`headway experiment`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, limit, pass_invocation
from headway.cli.output import lines, print_facts, print_json, print_list
from headway.cli.removal import add_removal
from headway.cli.wording import ago


@click.group(cls=Noun)
def experiment() -> None:
    """Experiments: runs that belong together."""


@experiment.command("list")
@limit
@pass_invocation
def list_experiments(invocation: Invocation, limit: int) -> None:
    """Experiments, newest first, those that are deleted too."""
    print_list(
        invocation.as_json,
        invocation.client.experiments.list(limit=limit),
        {
            "experiment": lambda found: found.name,
            "made": lambda found: ago(found.created_at),
            "state": lambda found: "deleted" if found.deleted_at else "active",
            "id": lambda found: found.id,
        },
        empty="no experiments yet; `headway run PIPELINE` makes one",
    )


@experiment.command()
@click.argument("reference", metavar="EXPERIMENT")
@pass_invocation
def show(invocation: Invocation, reference: str) -> None:
    """One experiment, and how many runs it has."""
    client = invocation.client
    found = client.experiments.get(reference)
    runs = client.runs.count((found.name,))
    if invocation.as_json:
        print_json({"experiment": found, "runs": runs})
        return
    print_facts(
        False,
        found,
        {
            "experiment": found.name,
            "id": found.id,
            "made": ago(found.created_at),
            "deleted": ago(found.deleted_at) if found.deleted_at else "",
            "runs": str(runs),
            "tags": lines(f"{key} = {value}" for key, value in sorted(found.tags.items())),
        },
    )


add_removal(experiment, "EXPERIMENT", lambda client, text: client.experiments.get(text).id)
