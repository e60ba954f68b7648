"""Where a change stands, and what it takes to get on."""

from __future__ import annotations

import click

from headway.cli.invocation import Invocation
from headway.cli.output import print_json
from headway.lifecycle.changes.records import Change, Stage


def next_step(change: Change) -> str:
    """What happens next, or what somebody has to do for it."""
    match change.stage:
        case Stage.OPENED:
            return "its run is started" if change.pipeline else "its model is brought to the gate"
        case Stage.RUNNING:
            return f"its run finishes: headway run show {change.run}"
        case Stage.REGISTERED:
            return f"the gate of {change.environment} measures"
        case Stage.JUDGED:
            return f"signed once enough agree: headway change approve {change.number} --why REASON"
        case Stage.RELEASED:
            return f"its rollout to {change.deployment} starts"
        case Stage.ROLLING_OUT:
            return f"its traffic is watched: headway rollout show {change.rollout}"
        case _:
            return ""


def say_opened(invocation: Invocation, change: Change) -> None:
    if invocation.as_json:
        print_json(change)
        return
    click.echo(f"change {change.number} is open: {change.title} to {change.deployment} ({change.environment})")
    click.echo(f"Follow it with `headway change show {change.number}`.")
