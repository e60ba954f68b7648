"""`headway feature-view`."""

from __future__ import annotations

from datetime import datetime

import click

from headway.cli.arguments import pairs
from headway.cli.invocation import Invocation
from headway.cli.moments import MOMENT
from headway.cli.nouns import Noun, limit, pass_invocation
from headway.cli.output import lines, print_done, print_facts, print_json, print_list, print_table
from headway.cli.wording import ago, duration, number
from headway.lifecycle.feature_views.records import Feature, FeatureView, Found, WhenStale


@click.group(cls=Noun)
def feature_view() -> None:
    """Feature views: what is known of an entity at a moment, for training and for looking up."""


@feature_view.command("list")
@limit
@pass_invocation
def list_views(invocation: Invocation, limit: int) -> None:
    """Versions of all feature views, newest first."""
    print_list(
        invocation.as_json,
        invocation.client.feature_views.list(limit=limit),
        {
            "view": lambda view: view.label,
            "source": lambda view: view.source,
            "entity": lambda view: ", ".join(view.entity),
            "features": lambda view: number(len(view.features)),
            "fresh for": lambda view: "ever" if view.ttl_s is None else duration(view.ttl_s),
            "defined": lambda view: ago(view.created_at),
        },
        empty="no feature views yet; `headway feature-view define NAME --source DATASET ...` makes one",
    )


@feature_view.command()
@click.argument("name")
@click.option("--source", required=True, help="The dataset its rows come from.")
@click.option("--entity", required=True, multiple=True, help="A column that says what a row is about; repeatable.")
@click.option("--event-time", required=True, help="The column that says since when a row holds.")
@click.option(
    "--feature", required=True, multiple=True, metavar="NAME[=EXPRESSION]",
    help="A column, or an expression over columns of its row; repeatable.",
)  # fmt: skip
@click.option("--known-at", default="", help="The column that says when a row became known, where that is later.")
@click.option("--ttl-s", type=float, help="How old a value may be, in seconds; for ever if left out.")
@click.option("--when-stale", type=click.Choice([each.value for each in WhenStale]), default=WhenStale.NULL.value,
              show_default=True, help="What a lookup does with values that are older.")  # fmt: skip
@pass_invocation
def define(
    invocation: Invocation, name: str, source: str, entity: tuple[str, ...], event_time: str, feature: tuple[str, ...],
    known_at: str, ttl_s: float | None, when_stale: str,
) -> None:  # fmt: skip
    """Define the feature view NAME, or its next version."""
    features = pairs([each if "=" in each else f"{each}=" for each in feature], "--feature")
    view = invocation.client.feature_views.define(
        name, source=source, entity=entity, event_time=event_time, features=features, known_at=known_at, ttl_s=ttl_s,
        when_stale=when_stale,
    )  # fmt: skip
    print_done(
        invocation.as_json, view, f"{view.label}: {number(len(view.features))} features of {', '.join(view.entity)}"
    )


@feature_view.command()
@click.argument("reference")
@pass_invocation
def show(invocation: Invocation, reference: str) -> None:
    """One version: REFERENCE is an id, NAME for the newest, or NAME@NUMBER."""
    view = invocation.client.feature_views.get(reference)
    done = [] if invocation.as_json else invocation.client.feature_views.materialisations(view.id, limit=1).items
    print_facts(
        invocation.as_json,
        view,
        {
            "view": view.label,
            "id": view.id,
            "source": view.source,
            "entity": ", ".join(view.entity),
            "event time": view.event_time,
            "known at": view.known_at,
            "fresh for": "ever" if view.ttl_s is None else f"{view.ttl_s:g} s, then {view.when_stale}",
            "features": lines(map(_feature, view.features)),
            "online": f"{number(done[0].entities)} entities as of {done[0].as_of:%F %T}"
            if done
            else "not materialised",
        },
    )


@feature_view.command()
@click.argument("reference")
@click.option("--version", default="", metavar="NUMBER", help="The version of the source, the newest if left out.")
@click.option("--as-of", type=MOMENT, help="What was known at this moment; now if left out.")
@pass_invocation
def materialise(invocation: Invocation, reference: str, version: str, as_of: datetime | None) -> None:
    """Make the newest values of each entity ready to be looked up."""
    done = invocation.client.feature_views.materialise(reference, version=version, as_of=as_of)
    if invocation.as_json:
        print_json(done)
        return
    click.echo(f"{number(done.entities)} entities as of {done.as_of:%F %T}: {number(done.written)} written, "
               f"{number(done.removed)} removed")  # fmt: skip
    if done.ahead:
        click.echo(f"{number(done.ahead)} rows hold only later; materialise again then")
    if done.incomplete:
        click.echo(f"{number(done.incomplete)} rows have no entity or no time, and are never used")


@feature_view.command("look-up")
@click.argument("reference")
@click.argument("entity", nargs=-1, required=True, metavar="COLUMN=VALUE...")
@pass_invocation
def look_up(invocation: Invocation, reference: str, entity: tuple[str, ...]) -> None:
    """What is known of one entity now: a value for each of the view's entity columns."""
    view = invocation.client.feature_views.get(reference)
    given = {name: _typed(text) for name, text in pairs(entity, "the entity").items()}
    answer = invocation.client.feature_views.look_up(view.id, [given])
    if invocation.as_json:
        print_json(answer)
        return
    print_table(["feature", "value"], [[name, _told(value)] for name, value in answer.found[0].values.items()])
    click.echo(_age(view, answer.found[0]))


def _feature(feature: Feature) -> str:
    return f"{feature.name} = {feature.expression}" if feature.expression else feature.name


def _typed(text: str) -> int | float | str:
    """A number where it reads as one; a text of digits stands in quotes."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _told(value: object) -> str:
    return "-" if value is None else str(value)


def _age(view: FeatureView, found: Found) -> str:
    if found.event_at is None:
        return f"{view.label} knows nothing of it"
    stale = f", older than {view.ttl_s:g} s and not to be used" if found.stale else ""
    return f"from {found.event_at:%F %T}, {duration(found.age_s)} old{stale}"
