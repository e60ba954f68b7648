"""`headway alert`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, found_by, limit, pass_invocation
from headway.cli.output import print_done, print_facts, print_list
from headway.cli.wording import ago, clip, short
from headway.lifecycle.monitors.records import Alert

_note = click.option("--note", default="", help="What you found or did; it is kept with the alert.")


@click.group(cls=Noun)
def alert() -> None:
    """Alerts: what monitors have raised their hand about."""


@alert.command("list")
@limit
@pass_invocation
def list_alerts(invocation: Invocation, limit: int) -> None:
    """Alerts, newest first."""
    print_list(
        invocation.as_json,
        invocation.client.alerts.list(limit=limit),
        {
            "alert": lambda alert: short(alert.id),
            "state": lambda alert: alert.state,
            "deployment": lambda alert: alert.deployment,
            "monitor": lambda alert: alert.monitor,
            "day": lambda alert: alert.day,
            "raised": lambda alert: ago(alert.created_at),
            "what": lambda alert: clip(alert.message),
        },
        empty="no alerts: no monitor has raised its hand",
    )


@alert.command()
@click.argument("identifier", metavar="ALERT")
@pass_invocation
def show(invocation: Invocation, identifier: str) -> None:
    """One alert."""
    alerts = invocation.client.alerts
    found = alerts.get(found_by(identifier, alerts.list))
    print_facts(
        invocation.as_json,
        found,
        {
            "alert": found.state,
            "id": found.id,
            "what": found.message,
            "deployment": found.deployment,
            "monitor": found.monitor,
            "day": found.day,
            "release": found.release,
            "window": found.window,
            "raised": ago(found.created_at),
            "moved by": f"{found.moved_by}, {ago(found.moved_at)}" if found.moved_at else "",
            "note": found.note,
        },
    )


@alert.command()
@click.argument("identifier", metavar="ALERT")
@_note
@pass_invocation
def acknowledge(invocation: Invocation, identifier: str, note: str) -> None:
    """Say that somebody is looking into it."""
    alerts = invocation.client.alerts
    _say(invocation, alerts.acknowledge(found_by(identifier, alerts.list), note))


@alert.command()
@click.argument("identifier", metavar="ALERT")
@_note
@pass_invocation
def resolve(invocation: Invocation, identifier: str, note: str) -> None:
    """Say that it is over; the monitor may raise a new one."""
    alerts = invocation.client.alerts
    _say(invocation, alerts.resolve(found_by(identifier, alerts.list), note))


def _say(invocation: Invocation, alert: Alert) -> None:
    print_done(invocation.as_json, alert, f"{short(alert.id)} is {alert.state}")
