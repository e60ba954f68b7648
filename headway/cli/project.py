"""`headway project`."""

from __future__ import annotations

from pathlib import Path

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, pass_invocation
from headway.cli.output import print_facts, print_json
from headway.client.home import PROJECT_FILE, find_project
from headway.errors import NotFound


@click.group(cls=Noun)
def project() -> None:
    """The project: what headway.toml declares."""


@project.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@pass_invocation
def apply(invocation: Invocation, folder: Path | None) -> None:
    """Make the platform be as the headway.toml of FOLDER, or of the project you are in, says."""
    found = folder or find_project(Path.cwd())
    if found is None or not (found / PROJECT_FILE).is_file():
        raise NotFound(
            f"there is no {PROJECT_FILE} in {folder or 'this folder or above it'}; `headway init` writes one"
        )
    applied = invocation.client.project.apply((found / PROJECT_FILE).read_text())
    print_facts(
        invocation.as_json,
        applied,
        {
            "project": str(found),
            "environments": ", ".join(applied.environments),
            "deployments": ", ".join(applied.deployments),
            "monitors": ", ".join(applied.monitors),
            "triggers": ", ".join(applied.triggers),
        },
    )


@project.command()
@pass_invocation
def show(invocation: Invocation) -> None:
    """The declaration that was applied last."""
    text = invocation.client.project.text()
    if invocation.as_json:
        print_json({"text": text})
    else:
        click.echo(text, nl=not text.endswith("\n"))
