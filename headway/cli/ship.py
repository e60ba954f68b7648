"""`headway ship`."""

from __future__ import annotations

import click

from headway.cli.delivery import say_opened
from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.client.client import Client
from headway.errors import Invalid
from headway.lifecycle.changes.records import OpenChange


@click.command(cls=Verb)
@click.argument("model", metavar="MODEL[@VERSION]")
@click.option("--to", "deployment", help="The deployment; may be left out when only one serves this model.")
@click.option("--why", default="", help="The reason; it is kept in the ledger.")
@pass_invocation
def ship(invocation: Invocation, model: str, deployment: str | None, why: str) -> None:
    """Bring a model version to a deployment: gate, approval, release, rollout. MODEL alone is its newest version."""
    client = invocation.client
    version = client.models.version(model)
    command = OpenChange(deployment=deployment or _only(client, version.model), model_version=version.id, why=why)
    say_opened(invocation, client.changes.open(command))


def _only(client: Client, model: str) -> str:
    names = [deployment.name for deployment in client.deployments.list().items if deployment.model == model]
    if len(names) == 1:
        return names[0]
    if names:
        raise Invalid(f"{model} is served by {', '.join(names)}; choose one with --to")
    raise Invalid(
        f"no deployment serves {model}; declare one in headway.toml as [deployments.NAME] with model = {model!r}, "
        "then run `headway project apply` or `headway up`"
    )
