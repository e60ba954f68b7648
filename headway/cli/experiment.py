"""`headway experiment`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, found_by, limit, pass_invocation
from headway.cli.output import print_list
from headway.cli.removal import add_removal
from headway.cli.wording import ago, clip, short
from headway.client.client import Client
from headway.kernel.paging import every


@click.group(cls=Noun)
def experiment() -> None:
    """Experiments: what runs belong to."""


@experiment.command("list")
@limit
@pass_invocation
def list_experiments(invocation: Invocation, limit: int) -> None:
    """Experiments, newest first; those that were deleted too."""
    print_list(
        invocation.as_json,
        invocation.client.runs.experiments(limit=limit),
        {
            "experiment": lambda item: short(item.id),
            "name": lambda item: clip(item.name, 40),
            "made": lambda item: ago(item.created_at),
            "deleted": lambda item: ago(item.deleted_at) if item.deleted_at else "-",
        },
        empty="no experiments yet; the first run makes one",
    )


def _find(client: Client, text: str) -> str:
    """By name, by id or by its last characters."""
    experiments = every(lambda before: client.runs.experiments(limit=1000, before=before))
    named = next((item.id for item in experiments if item.name == text), None)
    return named or found_by(text, client.runs.experiments)


add_removal(experiment, "EXPERIMENT", _find)
