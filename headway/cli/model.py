"""`headway model`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, limit, pass_invocation, why
from headway.cli.output import lines, print_done, print_facts, print_json, print_list
from headway.cli.removal import add_removal
from headway.cli.wording import ago, clip, number, numbers, short, size
from headway.client.client import Client
from headway.client.home import find_home
from headway.errors import Invalid
from headway.kernel.ids import kind_of
from headway.lifecycle.models.origins import Origins
from headway.lifecycle.models.records import ModelVersion, Task, TensorSpec, Variant
from headway.sdk import adopt_on


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
            "data tags": "" if invocation.as_json else lines(_tags(client.models.origins(version.id))),
            "judged by": labels.get(version.evaluation, ""),
            "form": version.form,
            "classes": ", ".join(map(str, version.signature.classes)),
            "parts": ", ".join(client.models.version(part).label for part in version.parts),
            "looks up in": ", ".join(client.feature_views.get(view).label for view in version.feature_views),
            "lock": version.lock or "",
            "size": size(version.size),
            "blob": version.blob,
            "parity": _parity(version),
            "worst row": _worst(version),
            "forms tried": lines(map(_variant, version.variants)),
            "baselines": ", ".join(baseline.name for baseline in version.baselines) or "none",
            "metrics": lines(f"{key} {number(value)}" for key, value in sorted(version.metrics.items())),
            "takes": lines(map(_tensor, version.signature.inputs)),
            "gives": lines(map(_tensor, version.signature.outputs)),
        },
    )


@model.command()
@click.argument("reference", metavar="NAME@NUMBER")
@click.option("--held-out", "evaluation", required=True, help="The dataset that gates judge it on.")
@click.option("--trained-on", "training", multiple=True, help="A dataset version that it learnt from.")
@click.option("--task", type=click.Choice([task.value for task in Task]), default="binary", show_default=True)
@click.option("--score", default=None, help="The output to judge by, if it is not clear.")
@click.option("--columns", default="", metavar="A,B,C", help="The columns of an array without names, in their order.")
@click.option("--note", default="", help="What to say of it.")
@pass_invocation
def adopt(invocation: Invocation, /, reference: str, columns: str, **told: Any) -> None:
    """Make a model that MLflow has registered a version that gates judge: ONNX, scikit-learn, or any other."""
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    version = adopt_on(invocation.client, reference, columns=names, **told)
    if invocation.as_json:
        print_json(version)
        return
    click.echo(f"{version.label} is {version.form}{f': {version.note}' if version.note else ''}")
    if version.form.may_hold_code:
        click.echo(f"it may hold any code, and is not run before `headway model trust {version.label} --why ...`")


@model.command()
@click.argument("reference", metavar="NAME@NUMBER")
@why
@pass_invocation
def trust(invocation: Invocation, reference: str, why: str) -> None:
    """Say that what a version holds may be run, in an isolated worker. It is kept in the ledger, for this content."""
    given = invocation.client.models.trust(reference, why)
    print_done(
        invocation.as_json,
        given,
        f"{given.label} may be run, on the word of {given.trusted_by}, and nothing but {given.blob}",
    )


def _tags(origins: Origins) -> Iterator[str]:
    """A line for each tag: what bears it."""
    borne: dict[str, list[str]] = {}
    for each in origins.tags:
        borne.setdefault(each.tag, []).append(f"{each.dataset}.{each.column}" if each.column else each.dataset)
    yield from (clip(f"{tag}: {', '.join(places)}", 100) for tag, places in sorted(borne.items()))


@model.command()
@click.argument("reference", metavar="NAME@NUMBER")
@why
@pass_invocation
def distrust(invocation: Invocation, reference: str, why: str) -> None:
    """Take back that what a version holds may be run: no gate, release or rollout takes it any more."""
    withdrawn = invocation.client.models.distrust(reference, why)
    if invocation.as_json:
        print_json(withdrawn)
    else:
        click.echo(f"{withdrawn.label} is trusted no more, nor is anything else of {withdrawn.blob}")
        click.echo("what serves it goes on until it is moved away from: `headway rollout roll-back`, or ship another")


@model.command()
@click.argument("reference", metavar="NAME@NUMBER")
@click.option("--python", default="", help="The interpreter to make it with, such as /usr/bin/python3.11.")
@click.option(
    "--wheels", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Take packages from here only."
)
@click.option("--index", default="", help="Or from this index, instead of the one that pip is set to.")
@pass_invocation
def prepare(invocation: Invocation, reference: str, python: str, wheels: Path | None, index: str) -> None:
    """Make the environment of a version's locked packages on this machine, once: wheels only, and no others."""
    from headway.engines.runtimes.environments import FOLDER, Origin  # noqa: PLC0415
    from headway.engines.runtimes.environments import prepare as make  # noqa: PLC0415

    if wheels and index:
        raise Invalid("packages come from a folder of wheels or from an index, not from both")
    client = invocation.client
    version = client.models.version(reference)
    locks = {each.label: each.lock for each in _with_parts(client, version) if each.lock}
    if not locks:
        raise Invalid(
            f"{version.label} has no lock; log it with requirements=... to give its worker packages of its own"
        )
    made = {}
    for label, lock in locks.items():
        text = client.blobs.get(lock).decode()
        made[label] = make(find_home(invocation.home) / FOLDER, lock, text, Origin(wheels, index), python)
    if invocation.as_json:
        print_json({label: {"python": str(each.python), "made": each.made} for label, each in made.items()})
        return
    for label, each in made.items():
        click.echo(f"{label} runs in {each.python}{'' if each.made else ', which was there'}")


def _with_parts(client: Client, version: ModelVersion) -> Iterator[ModelVersion]:
    """The version, and all that it is made of."""
    yield version
    for part in version.parts:
        yield from _with_parts(client, client.models.version(part))


def _parity(version: ModelVersion) -> str:
    parity = version.parity
    if parity is None:
        return "as logged" if version.as_logged else "unproven"
    return f"{'proven' if parity.proven else 'broken'} ({parity.max_difference:.1e} on {parity.rows:,} rows)"


def _worst(version: ModelVersion) -> str:
    parity = version.parity
    if parity is None or parity.worst is None:
        return ""
    features = ", ".join(f"{name}={clip(str(value), 20)}" for name, value in list(parity.worst.features.items())[:8])
    more = len(parity.worst.features) - 8
    told = f"{parity.worst_row}: trained {parity.worst.trained}, served {parity.worst.served}"
    blurred = f"; {parity.rounded_apart} rows next to a split" if parity.rounded_apart else ""
    labels = f"; {parity.labels_apart} other labels" if parity.labels_apart else ""
    return f"{told}{labels}{blurred} ({features}{f' and {more} more' if more > 0 else ''})"


def _variant(variant: Variant) -> str:
    times = f" {variant.single_us:.1f} us a row, {variant.batch_us:.0f} us per 100" if (
        variant.single_us is not None and variant.batch_us is not None
    ) else ""  # fmt: skip
    return (
        f"{variant.name}{' (served)' if variant.kept else ''}{times}{f': {variant.reason}' if variant.reason else ''}"
    )


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name}: {tensor.datatype} {list(tensor.shape)}"


add_removal(model, "REFERENCE", lambda client, text: text if kind_of(text) else client.models.version(text).id)
