"""`headway trigger`."""

from __future__ import annotations

from datetime import datetime

import click

from headway.cli.arguments import pairs
from headway.cli.invocation import Invocation
from headway.cli.moments import MOMENT
from headway.cli.nouns import Noun, limit, pass_invocation, why
from headway.cli.output import lines, print_done, print_facts, print_json, print_list, print_table
from headway.cli.wording import ago, clip, duration, short
from headway.lifecycle.changes.records import Firing, FiringState, Trigger
from headway.lifecycle.changes.triggers import Standing


@click.group(cls=Noun)
def trigger() -> None:
    """Triggers: what opens changes by itself."""


@trigger.command("list")
@pass_invocation
def list_triggers(invocation: Invocation) -> None:
    """All triggers, and when each is due next."""
    client = invocation.client
    page = client.triggers.list()
    standing = {} if invocation.as_json else {each.id: client.triggers.get(each.name) for each in page.items}
    print_list(
        invocation.as_json,
        page,
        {
            "trigger": lambda trigger: trigger.name,
            "on": lambda trigger: trigger.on,
            "source": lambda trigger: clip(_source(trigger), 40),
            "pipeline": lambda trigger: trigger.pipeline,
            "to": lambda trigger: trigger.deployment,
            "next": lambda trigger: _next(standing[trigger.id]),
            "waiting": lambda trigger: str(standing[trigger.id].waiting),
            "last": lambda trigger: _last(standing[trigger.id].last),
        },
        empty="no triggers; declare [triggers.NAME] in headway.toml",
    )


@trigger.command()
@click.argument("name", metavar="TRIGGER")
@pass_invocation
def show(invocation: Invocation, name: str) -> None:
    """One trigger: its rules, when it is due, and what waits for what."""
    standing = invocation.client.triggers.get(name)
    found = standing.trigger
    print_facts(
        invocation.as_json,
        standing,
        {
            "trigger": found.name,
            "id": found.id,
            "on": f"{found.on} {_source(found)}".strip(),
            "paths": ", ".join(found.paths),
            "runs": f"{found.pipeline}, for {found.deployment}",
            "params": lines(f"{key} = {value}" for key, value in sorted(found.params.items())),
            "takes": lines(f"{key}: {kind}" for key, kind in sorted(found.takes.items())),
            "catch up": found.catch_up,
            "concurrency": f"{found.concurrency}, {found.most_open} at once",
            "cool-down": duration(found.cooldown_s) if found.cooldown_s else "",
            "paused": f"{ago(found.paused_at)} by {found.paused_by}: {found.paused_why}" if found.paused_at else "",
            "next due": lines(f"{due:%Y-%m-%d %H:%M} UTC, {ago(due)}" for due in standing.next_due),
            "open": ", ".join(f"change {number}" for number in standing.open_changes),
            "waiting": f"{standing.waiting}: {standing.held_by}" if standing.waiting else "",
            "last": _last(standing.last),
        },
    )


@trigger.command()
@click.argument("name", metavar="TRIGGER")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the pipeline.")
@click.option("--why", default="", help="The reason; it is kept in the ledger.")
@click.option("--key", default="", help="The same key again opens no second change.")
@pass_invocation
def fire(invocation: Invocation, name: str, params: tuple[str, ...], why: str, key: str) -> None:
    """Open a change now, whatever it listens to; or as soon as its concurrency allows."""
    firing = invocation.client.triggers.fire(name, params=pairs(params, "-p"), why=why, key=key)
    if invocation.as_json:
        print_json(firing)
    elif firing.change:
        change = invocation.client.changes.get(firing.change)
        click.echo(f"change {change.number} is open: headway change show {change.number}")
    else:
        held = invocation.client.triggers.get(name).held_by
        click.echo(f"it is {firing.state}: {firing.reason or held or 'its turn comes'}")


@trigger.command()
@click.argument("name", metavar="TRIGGER")
@why
@pass_invocation
def pause(invocation: Invocation, name: str, why: str) -> None:
    """Have it take notice of nothing, until it is resumed."""
    paused = invocation.client.triggers.pause(name, why)
    print_done(
        invocation.as_json, paused, f"{paused.name} is paused; `headway trigger resume {paused.name}` lets it go on"
    )


@trigger.command()
@click.argument("name", metavar="TRIGGER")
@pass_invocation
def resume(invocation: Invocation, name: str) -> None:
    """Have it go on, with what comes from now on."""
    resumed = invocation.client.triggers.resume(name)
    print_done(invocation.as_json, resumed, f"{resumed.name} goes on")


@trigger.command()
@click.argument("name", metavar="TRIGGER")
@click.option("--state", type=click.Choice([state.value for state in FiringState]), help="Only those in this state.")
@limit
@pass_invocation
def history(invocation: Invocation, name: str, state: str | None, limit: int) -> None:
    """What it took notice of, and what became of that, newest first."""
    print_list(
        invocation.as_json,
        invocation.client.triggers.history(name, state=FiringState(state) if state else None, limit=limit),
        {
            "firing": lambda firing: short(firing.id),
            "cause": lambda firing: firing.cause,
            "state": lambda firing: firing.state,
            "noticed": lambda firing: ago(firing.created_at),
            "by": lambda firing: firing.by,
            "change": lambda firing: short(firing.change),
            "why": lambda firing: clip(firing.reason or firing.why),
        },
        empty="it took notice of nothing yet",
    )


@trigger.command()
@click.argument("name", metavar="TRIGGER")
@click.option("--from", "since", type=MOMENT, required=True, help="From this time on.")
@click.option("--to", "until", type=MOMENT, required=True, help="Up to this time.")
@click.option("--most", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many due times.")
@click.option("--dry-run", is_flag=True, help="Say which, and do nothing.")
@click.option("--why", default="", help="The reason; it is kept in the ledger.")
@pass_invocation
def backfill(
    invocation: Invocation, name: str, since: datetime, until: datetime, most: int, dry_run: bool, why: str
) -> None:
    """Open a change for each due time of a range that has none yet. Asked for again, it goes on where it was."""
    found = invocation.client.triggers.backfill(name, since, until, dry_run=dry_run, most=most, why=why)
    if invocation.as_json:
        print_json(found)
        return
    new = [slot for slot in found.slots if slot.state in ((None, FiringState.SKIPPED) if dry_run else ()) or slot.noted]
    print_table(
        ["due (UTC)", "state", "change"],
        [[f"{s.slot_at:%Y-%m-%d %H:%M}", s.state or "new", short(s.change)] for s in found.slots],
    )
    verb = "would wait for their turn" if dry_run else "wait for their turn, or are open"
    click.echo(f"{len(new)} of {len(found.slots)} due times {verb}; the others have had theirs")


@trigger.command()
@click.argument("name", metavar="TRIGGER")
@pass_invocation
def secret(invocation: Invocation, name: str) -> None:
    """Make the secret that signs requests to fire it, and show it this once; the one before holds no more."""
    made = invocation.client.triggers.secret(name)
    if invocation.as_json:
        print_json({"secret": made, "path": f"/v1/triggers/{name}/webhook"})
        return
    click.echo(made)
    click.echo(f"It is shown this once. Requests go to POST /v1/triggers/{name}/webhook.", err=True)


def _source(trigger: Trigger) -> str:
    if trigger.on == "schedule":
        return f"{trigger.source} ({trigger.time_zone})"
    return f"{trigger.source}@{trigger.tag}" if trigger.tag else trigger.source


def _next(standing: Standing) -> str:
    if standing.trigger.paused_at:
        return "paused"
    return f"{standing.next_due[0]:%Y-%m-%d %H:%M} UTC" if standing.next_due else "-"


def _last(firing: Firing | None) -> str:
    return f"{firing.state} {ago(firing.created_at)}" if firing else "-"
