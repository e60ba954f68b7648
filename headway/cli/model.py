"""`headway model`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, limit, pass_invocation
from headway.cli.output import lines, print_facts, print_list
from headway.cli.removal import add_removal
from headway.cli.wording import ago, clip, number, numbers, short, size
from headway.kernel.ids import kind_of
from headway.lifecycle.models.records import ModelVersion, TensorSpec


@click.group(cls=Noun)
def model() -> None:
    """Models: named lines of trained versions, each with its signature and where it came from."""


@model.command("list")
@click.argument("name", required=False)
@limit
@pass_invocation
def list_versions(invocation: Invocation, name: str | None, limit: int) -> None:
    """Versions, newest first; all of them, or those of NAME."""
    print_list(
        invocation.as_json,
        invocation.client.models.versions(name, limit=limit),
        {
            "version": lambda version: version.label,
            "task": lambda version: version.task,
            "parity": _parity,
            "metrics": lambda version: numbers(version.metrics),
            "run": lambda version: short(version.run),
            "registered": lambda version: ago(version.created_at),
            "note": lambda version: clip(version.note, 40),
        },
        empty="no models yet; `run.log_model(...)` in a pipeline registers one",
    )


@model.command()
@click.argument("reference")
@pass_invocation
def show(invocation: Invocation, reference: str) -> None:
    """One version: REFERENCE is an id, NAME for the newest, or NAME@NUMBER."""
    client = invocation.client
    version = client.models.version(reference)
    labels = {} if invocation.as_json else {
        identifier: client.datasets.version(identifier).label
        for identifier in (*version.training, version.evaluation)
    }  # fmt: skip
    print_facts(
        invocation.as_json,
        version,
        {
            "model": version.label,
            "id": version.id,
            "task": version.task,
            "registered": ago(version.created_at),
            "note": version.note,
            "run": version.run,
            "trained on": ", ".join(labels.get(identifier, "") for identifier in version.training),
            "judged by": labels.get(version.evaluation, ""),
            "size": size(version.size),
            "blob": version.blob,
            "parity": _parity(version),
            "baselines": ", ".join(baseline.name for baseline in version.baselines) or "none",
            "metrics": lines(f"{key} {number(value)}" for key, value in sorted(version.metrics.items())),
            "takes": lines(map(_tensor, version.signature.inputs)),
            "gives": lines(map(_tensor, version.signature.outputs)),
        },
    )


def _parity(version: ModelVersion) -> str:
    parity = version.parity
    if parity is None:
        return "unproven"
    return f"{'proven' if parity.proven else 'broken'} ({parity.max_difference:.1e} on {parity.rows:,} rows)"


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name}: {tensor.datatype} {list(tensor.shape)}"


add_removal(model, "REFERENCE", lambda client, text: text if kind_of(text) else client.models.version(text).id)
