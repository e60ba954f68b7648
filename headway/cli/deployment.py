"""`headway deployment`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
import msgspec

from headway.cli.invocation import Invocation
from headway.cli.moments import MOMENT
from headway.cli.nouns import Noun, found_by, pass_invocation, why
from headway.cli.output import print_done, print_facts, print_json, print_list, print_section, print_table
from headway.cli.traffic import Labels, print_differences
from headway.cli.wording import ago, clip
from headway.errors import Invalid, NotFound
from headway.lifecycle.rollouts.records import Deployment
from headway.lifecycle.rollouts.target import Endpoint


@click.group(cls=Noun)
def deployment() -> None:
    """Deployments: standing endpoints, and what they serve."""


@deployment.command("list")
@pass_invocation
def list_deployments(invocation: Invocation) -> None:
    """All deployments."""
    labels = Labels(invocation.client)
    print_list(
        invocation.as_json,
        invocation.client.deployments.list(),
        {
            "deployment": lambda deployment: deployment.name,
            "environment": lambda deployment: deployment.environment,
            "model": lambda deployment: deployment.model,
            "serves": lambda deployment: labels.of(deployment.traffic),
            "target": lambda deployment: deployment.target,
        },
        empty="no deployments yet; declare one in headway.toml as [deployments.NAME] and run `headway up`",
    )


@deployment.command()
@click.argument("name")
@pass_invocation
def show(invocation: Invocation, name: str) -> None:
    """One deployment: its endpoint, its traffic, and how that came about."""
    client = invocation.client
    found = client.deployments.get(name)
    endpoint = _endpoint(invocation, name)
    if invocation.as_json:
        print_json({"deployment": found, "endpoint": endpoint})
        return
    labels = Labels(client)
    print_facts(
        False,
        found,
        {
            "deployment": found.name,
            "id": found.id,
            "environment": found.environment,
            "model": found.model,
            "serves": labels.of(found.traffic),
            "endpoint": endpoint.url if endpoint else "none yet",
            "ready": "" if endpoint is None else "yes" if endpoint.ready else f"no: {endpoint.error or 'starting'}",
            "server": f"{found.server}, which others may share" if found.server else "its own",
            "generation": str(found.generation),
            "sticky": _sticky_of(found),
            "fallback": _fallback_of(found, labels),
            "shadow": f"{labels.label(found.shadow.release)} {found.shadow.percent} %" if found.shadow else "none",
        },
    )
    if found.pins:
        print_section("Pinned callers")
        rows = [[f"{pin.key}*" if pin.starts_with else pin.key, labels.label(pin.release)] for pin in found.pins[:20]]
        print_table(["key", "served by"], rows)
        if len(found.pins) > len(rows):
            click.echo(f"and {len(found.pins) - len(rows)} more: --json lists all")
    if found.shadow:
        print_differences(client.deployments.differences(name, found.shadow.release), labels)
    moves = client.deployments.traffic(name, limit=10).items
    if moves:
        print_section("Traffic")
        print_table(
            ["since", "serves", "why"],
            [[ago(move.created_at), labels.of(move.traffic), clip(move.why)] for move in moves],
        )


@deployment.command()
@click.argument("name")
@click.option(
    "--at", type=MOMENT, required=True, help="When, such as 2024-05-01T12:00 (UTC) or 2024-05-01T12:00+02:00."
)
@pass_invocation
def served(invocation: Invocation, name: str, at: datetime) -> None:
    """What served at a moment, and why."""
    client = invocation.client
    change = client.deployments.served(name, at)
    print_facts(
        invocation.as_json,
        change,
        {
            "at": at.isoformat(),
            "served": Labels(client).of(change.traffic),
            "since": change.created_at.isoformat(timespec="seconds"),
            "why": change.why,
            "rollout": change.rollout,
            "generation": str(change.generation),
        },
    )


_keys = click.option("--key", "keys", multiple=True, help="A caller's whole key; may be given more than once.")
_prefixes = click.option("--prefix", "prefixes", multiple=True, help="How keys begin; may be given more than once.")


@deployment.command()
@click.argument("name")
@click.argument("release")
@_keys
@_prefixes
@why
@pass_invocation
def pin(
    invocation: Invocation, name: str, release: str, keys: tuple[str, ...], prefixes: tuple[str, ...], why: str
) -> None:
    """Serve callers by one release, whatever the shares."""
    client = invocation.client
    found = found_by(release, client.releases.list)
    pinned = client.deployments.pin(name, found, why, keys=keys, prefixes=prefixes)
    if invocation.as_json:
        print_json(pinned)
        return
    named = ", ".join([*keys, *(f"{prefix}*" for prefix in prefixes)])
    click.echo(f"{name} serves {Labels(client).label(found)} to {clip(named)}")


@deployment.command()
@click.argument("name")
@_keys
@_prefixes
@click.option("--all", "everyone", is_flag=True, help="All who are pinned.")
@why
@pass_invocation
def unpin(
    invocation: Invocation, name: str, keys: tuple[str, ...], prefixes: tuple[str, ...], everyone: bool, why: str
) -> None:
    """Let pinned callers go where the shares send them."""
    if everyone == bool(keys or prefixes):
        raise Invalid("name callers with --key and --prefix, or all of them with --all")
    left = invocation.client.deployments.unpin(name, why, keys=keys, prefixes=prefixes)
    print_done(invocation.as_json, left, f"{name} has {len(left.pins)} pins left")


@deployment.command()
@click.argument("name")
@click.argument("release")
@click.option("--percent", type=click.IntRange(1, 100), default=100, show_default=True, help="Share of the requests.")
@click.option(
    "--tolerance", type=float, default=1e-6, show_default=True, help="What two scores may differ by and be the same."
)
@why
@pass_invocation
def shadow(invocation: Invocation, name: str, release: str, percent: int, tolerance: float, why: str) -> None:
    """Let a release that answers nobody score what is asked."""
    client = invocation.client
    found = found_by(release, client.releases.list)
    changed = client.deployments.shadow(name, found, why, percent=percent, tolerance=tolerance)
    if invocation.as_json:
        print_json(changed)
        return
    click.echo(f"{Labels(client).label(found)} is the shadow of {name}, for {percent} % of the requests")


@deployment.command()
@click.argument("name")
@why
@pass_invocation
def unshadow(invocation: Invocation, name: str, why: str) -> None:
    """End the shadow."""
    changed = invocation.client.deployments.unshadow(name, why)
    print_done(invocation.as_json, changed, f"{name} has no shadow")


@deployment.command()
@click.argument("name")
@click.argument("release", required=False, default="")
@click.option("--constant", help='A value for each output, as JSON: \'{"label": 0, "probabilities": [0.8, 0.2]}\'.')
@click.option("--after-ms", type=click.IntRange(0), default=0, help="How long a model in a worker may take before.")
@why
@pass_invocation
def fallback(
    invocation: Invocation, name: str, release: str, constant: str | None, after_ms: int, why: str
) -> None:  # fmt: skip
    """Say what answers when the model that should does not."""
    client = invocation.client
    found = found_by(release, client.releases.list) if release else ""
    told = _json_object(constant) if constant else None
    changed = client.deployments.fallback(name, why, release=found, constant=told, after_ms=after_ms)
    if invocation.as_json:
        print_json(changed)
        return
    click.echo(f"when its model fails, {name} answers by {_fallback_of(changed, Labels(client))}")


@deployment.command()
@click.argument("name")
@why
@pass_invocation
def unfallback(invocation: Invocation, name: str, why: str) -> None:
    """End the fallback: failures are failures again."""
    changed = invocation.client.deployments.unfallback(name, why)
    print_done(invocation.as_json, changed, f"{name} has no fallback")


def _json_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Invalid(f"--constant is no JSON object of a value for each output: {error}") from None


def _fallback_of(deployment: Deployment, labels: Labels) -> str:
    told = deployment.fallback
    if told is None:
        return "none"
    chain = [labels.label(told.release) if told.release else "", "a constant" if told.constant else ""]
    return ", then ".join(filter(None, chain))


def _sticky_of(deployment: Deployment) -> str:
    told = deployment.sticky
    more = (
        f", else the header {told.header}"
        if told.header
        else f", else the feature {told.feature}"
        if told.feature
        else ""
    )
    return f"the request's key{more}"


def _endpoint(invocation: Invocation, name: str) -> Endpoint | None:
    try:
        return invocation.client.deployments.endpoint(name)
    except NotFound:
        return None
