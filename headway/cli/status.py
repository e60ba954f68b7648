"""`headway status`."""

from __future__ import annotations

import click

from headway.cli.delivery import next_step
from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_json, print_section, print_table
from headway.cli.traffic import Labels
from headway.cli.wording import ago, clip, number, short, size
from headway.lifecycle.status import DeploymentStatus, Status


@click.command(cls=Verb)
@pass_invocation
def status(invocation: Invocation) -> None:
    """What is going on, on one screen."""
    client = invocation.client
    found = client.status()
    if invocation.as_json:
        print_json(found)
        return
    _deployments(found, Labels(client))
    _changes(found)
    _alerts(found)
    _runs(found)
    _space(found)


def _deployments(status: Status, labels: Labels) -> None:
    print_section("Deployments")
    if not status.deployments:
        click.echo("none; declare one in headway.toml as [deployments.NAME]")
        return
    print_table(
        ["deployment", "environment", "serves", "endpoint", "quality"],
        [
            [item.deployment.name, item.deployment.environment, labels.of(item.deployment.traffic), _endpoint(item),
             _quality(item)]
            for item in status.deployments
        ],
    )  # fmt: skip


def _endpoint(item: DeploymentStatus) -> str:
    if item.endpoint is None:
        return "-"
    shared = f" (server {item.endpoint.server})" if item.endpoint.server else ""
    return (
        item.endpoint.url + shared
        if item.endpoint.ready
        else f"not ready: {clip(item.endpoint.error or 'starting', 40)}"
    )


def _quality(item: DeploymentStatus) -> str:
    """Of the release that came last: the candidate, while a rollout goes on."""
    newest = item.quality[-1] if item.quality else None
    if newest is None or newest.mean_loss is None:
        return "no labels yet" if item.deployment.traffic else "-"
    interval = newest.interval
    spread = f" ({number(interval.low)} to {number(interval.high)})" if interval else ""
    return f"loss {number(newest.mean_loss)}{spread}, {newest.n:,} labels"


def _changes(status: Status) -> None:
    print_section("Changes")
    if not status.changes:
        click.echo("none; `headway ship MODEL` opens one")
        return
    print_table(
        ["change", "stage", "what", "to", "opened", "next"],
        [
            [str(change.number), change.stage, clip(change.title, 30), change.deployment, ago(change.created_at),
             next_step(change) or clip(change.reason)]
            for change in status.changes
        ],
    )  # fmt: skip


def _alerts(status: Status) -> None:
    if not status.alerts:
        return
    print_section("Alerts")
    print_table(
        ["alert", "state", "deployment", "monitor", "day", "what"],
        [
            [short(alert.id), alert.state, alert.deployment, alert.monitor, alert.day, clip(alert.message)]
            for alert in status.alerts
        ],
    )


def _runs(status: Status) -> None:
    if not status.runs:
        return
    print_section("Runs")
    print_table(
        ["run", "state", "what", "started", "by"],
        [
            [
                short(run.id),
                run.state,
                run.name or run.experiment,
                ago(run.started_at or run.created_at),
                run.started_by,
            ]
            for run in status.runs
        ],
    )


def _space(status: Status) -> None:
    used, quota = status.usage.blobs, status.usage.quotas.blob_bytes
    print_section("Space")
    limit = "" if quota is None else f", of {size(quota)} that may be kept"
    click.echo(f"{size(used.bytes)} in {used.objects:,} blobs{limit}")
