"""`headway webhook`."""

from __future__ import annotations

import os

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, found_by, limit, pass_invocation
from headway.cli.output import lines, print_done, print_facts, print_json, print_list
from headway.cli.wording import ago, clip, short
from headway.client.webhooks import Webhooks
from headway.errors import Refused
from headway.lifecycle.webhooks.records import DeliveryState

_SECRET_FROM = "HEADWAY_SECRET"


@click.group(cls=Noun)
def webhook() -> None:
    """Webhooks: other systems that are told of what happens."""


@webhook.command()
@click.argument("name")
@click.argument("address", metavar="URL")
@click.option("--event", "events", multiple=True, required=True, help="What to tell of, such as change.settled.")
@click.option("--about", default="", help="What it is for.")
@pass_invocation
def add(invocation: Invocation, name: str, address: str, events: tuple[str, ...], about: str) -> None:
    """Tell an address of events. The secret that signs them is HEADWAY_SECRET, or is made and shown this once."""
    given = os.environ.get(_SECRET_FROM, "")
    added = invocation.client.webhooks.add(name, address, events, secret=given, about=about)
    if invocation.as_json:
        print_json(added)
        return
    click.echo(f"{name} is told of {', '.join(added.webhook.events)}" if given else added.secret)
    if not given:
        click.echo("It is shown this once; requests are signed with it (X-MLflow-Signature).", err=True)


@webhook.command("list")
@pass_invocation
def list_webhooks(invocation: Invocation) -> None:
    """All webhooks, newest first."""
    print_list(
        invocation.as_json,
        invocation.client.webhooks.list(),
        {
            "name": lambda webhook: webhook.name,
            "state": lambda webhook: webhook.state,
            "events": lambda webhook: clip(", ".join(webhook.events)),
            "made": lambda webhook: ago(webhook.created_at),
        },
        empty="no webhooks; `headway webhook add NAME URL --event change.settled` makes one",
    )


@webhook.command()
@click.argument("reference", metavar="WEBHOOK")
@pass_invocation
def show(invocation: Invocation, reference: str) -> None:
    """One webhook."""
    found = invocation.client.webhooks.get(_named(invocation, reference))
    print_facts(
        invocation.as_json,
        found,
        {"webhook": found.name, "id": found.id, "state": found.state, "url": found.url, "events": lines(found.events),
         "signed": "yes" if found.signed else "no", "about": found.about, "made": ago(found.created_at)},
    )  # fmt: skip


@webhook.command()
@click.argument("reference", metavar="WEBHOOK")
@click.option("--event", help="The kind of event to send an example of; its first one, if left out.")
@pass_invocation
def test(invocation: Invocation, reference: str, event: str | None) -> None:
    """Send an example at once; exit code 1 unless it is answered with 2xx."""
    attempt = invocation.client.webhooks.test(_named(invocation, reference), event)
    if not attempt.delivered:
        raise Refused(
            f"not delivered: {attempt.error or f'answered with status {attempt.status}'}", **_plain(attempt.answer)
        )
    print_done(invocation.as_json, attempt, f"delivered: status {attempt.status}")


@webhook.command()
@click.argument("reference", metavar="WEBHOOK")
@pass_invocation
def remove(invocation: Invocation, reference: str) -> None:
    """Tell it nothing any more, at once, and forget its secret."""
    invocation.client.webhooks.remove(_named(invocation, reference))
    print_done(invocation.as_json, {"removed": reference}, f"{reference} is removed")


@webhook.command()
@click.argument("reference", metavar="WEBHOOK")
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="Only those in this state.")
@limit
@pass_invocation
def deliveries(invocation: Invocation, reference: str, state: str | None, limit: int) -> None:
    """What became of each event, newest first."""
    webhooks: Webhooks = invocation.client.webhooks
    print_list(
        invocation.as_json,
        webhooks.deliveries(_named(invocation, reference), state=DeliveryState(state) if state else None, limit=limit),
        {
            "delivery": lambda each: short(each.id),
            "event": lambda each: each.event,
            "subject": lambda each: short(each.subject),
            "state": lambda each: each.state,
            "attempts": lambda each: str(each.attempts),
            "next": lambda each: ago(each.next_attempt_at),
            "happened": lambda each: ago(each.happened_at),
            "what": lambda each: clip(each.error),
        },
        empty="nothing was delivered yet",
    )


def _named(invocation: Invocation, reference: str) -> str:
    return found_by(reference, invocation.client.webhooks.list().items) if reference.startswith("wh_") else reference


def _plain(answer: str) -> dict[str, str]:
    return {"answer": answer} if answer else {}
