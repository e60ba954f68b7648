"""What is printed of a run, or a search, as it goes and when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from headway.cli.invocation import Invocation
from headway.cli.output import paint, print_json, print_table
from headway.cli.wording import clip, duration, number, short
from headway.lifecycle.runs.records import Run, StepRun, StepState

NOTHING: Mapping[str, Any] = {}


def conclude(
    invocation: Invocation, identifier: str, value: Any, found: Run | None = None, told: Mapping[str, Any] = NOTHING
) -> None:
    """Tell what a run has come to, and what to do next. `found` is the record of one that has run nothing, `told` what
    JSON is to have in addition."""
    made = found or invocation.client.runs.get(identifier)
    if invocation.as_json:
        metrics = {} if found else invocation.client.runs.metrics([made.id]).get(made.id, {})
        print_json({"run": made, "metrics": metrics, **told})
        return
    click.echo(f"{short(made.id)} {paint(made.state)}" + (f": {clip(repr(value), 200)}" if value is not None else ""))
    newest = () if found else invocation.client.models.versions(limit=20).items
    registered = [version for version in newest if version.run == made.id]
    for version in registered:
        click.echo(f"It registered {version.label}. Next: headway ship {version.label}")
    if not registered:
        click.echo(f"Next: headway run show {short(made.id)}")


def conclude_search(invocation: Invocation, study: object) -> None:
    """Tell what a search has found."""
    from headway.running.tuning import Study  # noqa: PLC0415

    assert isinstance(study, Study)
    if invocation.as_json:
        print_json(study)
        return
    rows = [
        [str(each.number), short(each.run), each.state, "-" if each.value is None else number(each.value),
         ", ".join(f"{key} {value}" for key, value in each.params.items())]
        for each in study.trials
    ]  # fmt: skip
    print_table(["trial", "run", "state", study.search.metric, "params"], rows)
    if study.best is None:
        click.echo("No trial was finished. Next: headway run show RUN tells what went wrong in one.")
    else:
        click.echo(f"Best: trial {study.best.number}. Next: headway run show {short(study.best.run)}")


def tell_step(step: StepRun) -> None:
    """One line for each step that is over."""
    if step.state in (StepState.DONE, StepState.CACHED, StepState.FAILED):
        took = step_took(step)
        click.echo(f"  {step.step}  {paint(step.state)}" + (f"  {took}" if took != "-" else ""), err=True)


def step_took(step: StepRun) -> str:
    """How long it took; a dash for one that was found in the cache or is not over."""
    if step.state is StepState.CACHED or not (step.started_at and step.ended_at):
        return "-"
    return duration((step.ended_at - step.started_at).total_seconds())
