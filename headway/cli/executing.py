"""How a run's steps are executed, from the command line: options of `headway run`, and its verbs about runs that go
on: resume, cancel, logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from headway.cli.conclusion import conclude, conclude_search, tell_step
from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, found_by, pass_invocation
from headway.cli.output import print_done, print_json
from headway.cli.wording import short
from headway.errors import Invalid
from headway.running.where import Execution, Where

if TYPE_CHECKING:
    from headway.client.client import Client

_FOLLOW_S = 0.3
_AT_ONCE = 500

executor_options: list[Callable[[Any], Any]] = [
    click.option("--workers", type=click.IntRange(1, 1024), help="How many steps run at once; as many as cores."),
    click.option("--in-process", is_flag=True, help="Run the steps one after the other here: breakpoints work."),
    click.option("--executor", type=click.Choice(["workers", "ray"]), help="Where the steps run.  [default: workers]"),
    click.option("--address", default="", help="The Ray cluster: an address, or local."),
]


def with_executor(function: Any) -> Any:
    for option in reversed(executor_options):
        function = option(function)
    return function


def execution_of(workers: int | None, in_process: bool, executor: str | None, address: str) -> Execution:
    """Raises `Invalid` for options that do not go together."""
    if in_process and (workers or executor or address):
        raise Invalid("--in-process runs one step at a time, here; leave out --workers, --executor and --address")
    where = Where.IN_PROCESS if in_process else Where(executor or Where.WORKERS)
    return Execution(where, workers or 0, address)


def echo_lines(step: str, text: str) -> None:
    """What a step prints, with its name before each line."""
    for line in text.splitlines():
        click.echo(f"  {step} | {line}", err=True)


@click.command(cls=Verb)
@click.argument("identifier", metavar="RUN")
@with_executor
@pass_invocation
def resume(
    invocation: Invocation, identifier: str, workers: int | None, in_process: bool, executor: str | None, address: str
) -> None:
    """Go on with a run that was killed, cancelled or failed: what was finished is not run again."""
    from headway.cli.pipelines import resume_here, resume_tuning_here  # noqa: PLC0415
    from headway.running.tuning import SEARCH  # noqa: PLC0415

    runs, execution = invocation.client.runs, execution_of(workers, in_process, executor, address)
    run = found_by(identifier, runs.list)
    if SEARCH in runs.get(run).tags:
        conclude_search(invocation, resume_tuning_here(invocation.client, run, execution))
        return
    made, value = resume_here(
        invocation.client, run, execution,
        report=None if invocation.as_json else tell_step, echo=None if invocation.as_json else echo_lines,
    )  # fmt: skip
    conclude(invocation, made, value)


@click.command(cls=Verb)
@click.argument("identifier", metavar="RUN")
@pass_invocation
def cancel(invocation: Invocation, identifier: str) -> None:
    """Stop a run, wherever it works: its steps are ended within seconds, with all that they started."""
    from headway.running.pipelines import cancel as cancel_run  # noqa: PLC0415

    made = cancel_run(invocation.client, found_by(identifier, invocation.client.runs.list))
    print_done(invocation.as_json, made, f"{short(made.id)} {made.state}\nNext: headway run resume {short(made.id)}")


@click.command(cls=Verb)
@click.argument("identifier", metavar="RUN")
@click.argument("step", required=False)
@click.option("--follow", is_flag=True, help="Go on until the run is over.")
@pass_invocation
def logs(invocation: Invocation, identifier: str, step: str | None, follow: bool) -> None:
    """What the steps of a run, or STEP alone, have printed."""
    client = invocation.client
    run = client.runs.get(found_by(identifier, client.runs.list)).id
    if step is not None and not follow:
        known = [each.step for each in client.runs.steps(run)]
        if step not in known:
            raise Invalid(f"run {run} has no step {step!r}; it has: {', '.join(known) or 'none'}")
    after = 0
    while True:
        over = not follow or client.runs.get(run).over
        after = _print_from(invocation, client, run, step, after)
        if over:
            return
        time.sleep(_FOLLOW_S)


def _print_from(invocation: Invocation, client: Client, run: str, step: str | None, after: int) -> int:
    """Print all that is there behind `after`; gives the number of the last part."""
    while parts := client.runs.logs(run, step=step, after=after, limit=_AT_ONCE):
        for part in parts:
            if invocation.as_json:
                print_json(part)
            elif step is not None:
                click.echo(part.text, nl=False)
            else:
                click.echo("".join(f"{part.step} | {line}\n" for line in part.text.splitlines()), nl=False)
        after = parts[-1].number
    return after


def add_execution(group: click.Group) -> None:
    """Give `group` the verbs about runs that go on."""
    for command in (resume, cancel, logs):
        group.add_command(command)
