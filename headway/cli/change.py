"""`headway change`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from headway.cli.arguments import pairs
from headway.cli.delivery import next_step, say_opened
from headway.cli.invocation import Invocation
from headway.cli.moments import MOMENT
from headway.cli.nouns import Noun, found_by, limit, pass_invocation, why
from headway.cli.output import lines, print_done, print_facts, print_json, print_list, print_section, print_table
from headway.cli.wording import ago, clip, duration, number, share
from headway.client.client import Client
from headway.lifecycle.changes.records import OpenChange


@click.group(cls=Noun)
def change() -> None:
    """Changes: the units of delivery, from what opened them to what serves. CHANGE is a number or an id."""


@change.command("list")
@limit
@pass_invocation
def list_changes(invocation: Invocation, limit: int) -> None:
    """Changes, newest first."""
    print_list(
        invocation.as_json,
        invocation.client.changes.list(limit=limit),
        {
            "change": lambda change: str(change.number),
            "stage": lambda change: change.stage,
            "what": lambda change: clip(change.title, 40),
            "to": lambda change: change.deployment,
            "cause": lambda change: change.cause,
            "by": lambda change: change.opened_by,
            "opened": lambda change: ago(change.created_at),
            "why": lambda change: clip(change.reason or change.why, 50),
        },
        empty="no changes yet; `headway ship MODEL` opens one",
    )


@change.command()
@click.argument("reference", metavar="CHANGE")
@pass_invocation
def show(invocation: Invocation, reference: str) -> None:
    """One change, and all it has gathered on its way."""
    client = invocation.client
    found = client.changes.get(_id(client, reference))
    if invocation.as_json:
        print_json(found)
        return
    approvals = client.changes.approvals(found.id)
    print_facts(
        False,
        found,
        {
            "change": f"{found.number}: {found.title}",
            "stage": found.stage,
            "id": found.id,
            "to": f"{found.deployment} ({found.environment})",
            "cause": f"{found.cause} {found.caused_by}".strip(),
            "opened by": f"{found.opened_by}, {ago(found.created_at)}",
            "why": found.why,
            "commit": f"{found.commit} {ago(found.committed_at) if found.committed_at else ''}".strip(),
            "break-glass": found.break_glass,
            "pipeline": found.pipeline,
            "run": found.run,
            "model version": found.model_version,
            "verdict": found.verdict,
            "approvals": lines(f"{item.decision} by {item.actor}: {item.reason}" for item in approvals),
            "release": found.release,
            "rollout": found.rollout,
            "reason": found.reason,
            "next": next_step(found),
        },
    )
    print_section("History")
    print_table(["stage", "when"], [[moment.stage, ago(moment.at)] for moment in found.history])


@change.command("open")
@click.option("--to", "deployment", required=True, help="The deployment it is for.")
@click.option("--pipeline", default="", help="The pipeline to run.")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the pipeline.")
@click.option("--model", "model_version", default="", help="Or the model version to ship, such as orders@3.")
@click.option("--commit", metavar="REV", help="For this commit of the repository here; again, it opens no second one.")
@click.option("--title", default="", help="What to call it.")
@click.option("--why", default="", help="The reason; it is kept in the ledger.")
@click.option("--break-glass", default="", metavar="REASON", help="Skip the gate, for this reason.")
@pass_invocation
def open_change(invocation: Invocation, /, params: tuple[str, ...], commit: str | None, **given: Any) -> None:
    """Open a change: run a pipeline, or take a model version, and bring it to a deployment."""
    command = OpenChange(params=pairs(params, "-p"), **given)
    if commit is not None:
        from headway.client.origin import commit_of  # noqa: PLC0415

        found, committed_at = commit_of(Path.cwd(), commit)
        command = command.but(commit=found, committed_at=committed_at)
    say_opened(invocation, invocation.client.changes.open(command))


@change.command()
@click.argument("reference", metavar="CHANGE")
@why
@pass_invocation
def approve(invocation: Invocation, reference: str, why: str) -> None:
    """Agree that it goes into its environment."""
    client = invocation.client
    approval = client.changes.approve(_id(client, reference), why)
    print_done(
        invocation.as_json,
        approval,
        f"you agreed as {approval.actor}; `headway change show {reference}` shows how it goes on",
    )


@change.command()
@click.argument("reference", metavar="CHANGE")
@why
@pass_invocation
def decline(invocation: Invocation, reference: str, why: str) -> None:
    """Refuse it; it ends there."""
    client = invocation.client
    approval = client.changes.decline(_id(client, reference), why)
    print_done(invocation.as_json, approval, f"you declined as {approval.actor}; what served before keeps serving")


@change.command()
@click.argument("reference", metavar="CHANGE")
@why
@pass_invocation
def cancel(invocation: Invocation, reference: str, why: str) -> None:
    """Give it up before any traffic moves."""
    client = invocation.client
    ended = client.changes.cancel(_id(client, reference), why)
    print_done(invocation.as_json, ended, f"change {ended.number} is {ended.stage}: {ended.reason}")


@change.command()
@click.option("--since", type=MOMENT, help="From this time on.")
@click.option("--until", type=MOMENT, help="Up to this time.")
@pass_invocation
def dora(invocation: Invocation, since: datetime | None, until: datetime | None) -> None:
    """The four delivery figures."""
    figures = invocation.client.changes.dora(since, until)
    failures = share(figures.change_failure_rate)
    if figures.change_failure_interval:
        interval = figures.change_failure_interval
        failures += f" ({interval.level:.0%} interval {share(interval.low)} to {share(interval.high)})"
    print_facts(
        invocation.as_json,
        figures,
        {
            "from": f"{figures.since:%Y-%m-%d %H:%M} to {figures.until:%Y-%m-%d %H:%M} UTC",
            "deployment frequency": f"{number(figures.deployments_per_day)} a day ({figures.settled} settled)",
            "lead time": f"{duration(figures.lead_time_s)} (median; {figures.from_commit} from their commit)",
            "change failure rate": f"{failures}, {figures.rolled_back} of {figures.reached_traffic}",
            "time to restore": f"{duration(figures.time_to_restore_s)} (median)",
        },
    )


def _id(client: Client, reference: str) -> str:
    return reference if reference.isdecimal() else found_by(reference, client.changes.list)
