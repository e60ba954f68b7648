"""`headway monitor`."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, limit, pass_invocation
from headway.cli.output import lines, print_facts, print_json, print_list, print_section, print_table
from headway.cli.wording import clip, number


@click.group(cls=Noun)
def monitor() -> None:
    """Monitors: saved questions over windows of predictions."""


@monitor.command("list")
@pass_invocation
def list_monitors(invocation: Invocation) -> None:
    """All monitors."""
    print_list(
        invocation.as_json,
        invocation.client.monitors.list(),
        {
            "monitor": lambda monitor: monitor.name,
            "watches": lambda monitor: monitor.watches,
            "deployment": lambda monitor: monitor.deployment,
        },
        empty="no monitors yet; declare one in headway.toml as [monitors.NAME]",
    )


@monitor.command()
@click.argument("name")
@limit
@pass_invocation
def show(invocation: Invocation, name: str, limit: int) -> None:
    """One monitor and its last windows."""
    client = invocation.client
    found, windows = client.monitors.get(name), client.monitors.windows(name, limit=limit)
    if invocation.as_json:
        print_json({"monitor": found, "windows": windows})
        return
    settings = lines(f"{key} = {value}" for key, value in sorted(found.settings.items()))
    print_facts(
        False,
        found,
        {"monitor": found.name, "watches": found.watches, "deployment": found.deployment, "settings": settings},
    )
    print_section("Windows")
    if not windows.items:
        click.echo("none yet; a window is judged when its day is over")
        return
    print_table(
        ["day", "outcome", "rows", "statistic", "limit", "why"],
        [
            [window.day, window.outcome, number(window.rows), number(window.statistic), number(window.limit),
             clip(window.reason)]
            for window in windows.items
        ],
    )  # fmt: skip
