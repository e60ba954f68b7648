"""`headway run`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from headway.cli.arguments import pairs
from headway.cli.conclusion import conclude, step_took, tell_step
from headway.cli.executing import add_execution, echo_lines, execution_of, with_executor
from headway.cli.explanations import print_explanation, print_preview
from headway.cli.interrupts import resumable
from headway.cli.invocation import Invocation
from headway.cli.nouns import Noun, Verb, found_by, limit, pass_invocation
from headway.cli.output import lines, print_done, print_facts, print_json, print_list, print_section, print_table
from headway.cli.removal import add_removal
from headway.cli.wish import Wish
from headway.cli.wording import ago, clip, duration, number, short, size
from headway.lifecycle.runs.capture import BRANCH_TAG, COMMAND_TAG, HOST_TAG, SYSTEM, captured
from headway.lifecycle.runs.explanations import Explanation
from headway.lifecycle.runs.records import Run, RunState
from headway.running.where import Where

if TYPE_CHECKING:
    from headway.cli.quick import Ended


class Runs(Noun):
    """`headway run train` is short for `headway run start train`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["start", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=Runs, subcommand_metavar="PIPELINE | COMMAND [ARGS]...")
def run() -> None:
    """Run a pipeline of this project: `headway run train -p rows=1000`. Or look at runs."""


@run.command(cls=Verb)
@click.argument("pipeline")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter; may be repeated.")
@click.option("--force", multiple=True, metavar="STEP", help="Run this step although it is cached; may be repeated.")
@click.option("--explain", is_flag=True, help="Say for each step why it runs or is cached.")
@click.option("--dry-run", is_flag=True, help="Only say what would run, and why.")
@with_executor
@pass_invocation
def start(
    invocation: Invocation, pipeline: str, params: tuple[str, ...], force: tuple[str, ...], explain: bool,
    dry_run: bool, workers: int | None, in_process: bool, executor: str | None, address: str,
) -> None:  # fmt: skip
    """Run PIPELINE here and now: a name in headway.toml, or module:function."""
    explained: list[Explanation] = []
    wish = Wish(
        pipeline, pairs(params, "-p"), force, report=None if invocation.as_json else tell_step,
        explain=_explaining(explained, invocation.as_json) if explain else None,
        execution=execution_of(workers, in_process, executor, address),
    )  # fmt: skip
    if not invocation.as_json:
        wish = replace(wish, echo=echo_lines)
    if dry_run:
        from headway.cli.pipelines import preview_here  # noqa: PLC0415

        print_preview(preview_here(invocation.client, wish), invocation.as_json)
        return
    ended = _run(invocation, wish)
    conclude(invocation, ended.identifier, ended.value, ended.run, {"explanations": explained} if explain else {})


def _run(invocation: Invocation, wish: Wish) -> Ended:
    """Directly on the database where all is cached, else through a client."""
    from headway.cli.quick import Ended, run_quickly  # noqa: PLC0415

    invocation.imported()
    began: list[str] = []
    wish = replace(wish, began=began.append)
    direct = invocation.may_be_direct and wish.execution.where is not Where.RAY
    with resumable(began):
        quick = run_quickly(wish, invocation.home, lambda: invocation.client) if direct else None
        if isinstance(quick, Ended):
            return quick
        from headway.cli.pipelines import run_here  # noqa: PLC0415

        return Ended(*run_here(invocation.client, wish, quick), None)


def _explaining(kept: list[Explanation], as_json: bool) -> Callable[[Explanation], None]:
    def explain(explanation: Explanation) -> None:
        kept.append(explanation)
        if not as_json:
            print_explanation(explanation)

    return explain


_experiment = click.option("--experiment", help="Only those of this experiment.")
_state = click.option(
    "--state", type=click.Choice([state.value for state in RunState]), help="Only those in this state."
)  # fmt: skip
_where = click.option("--where", default="", help='Only those for which this holds: "metrics.auc > 0.9".')
_deleted = click.option("--deleted", is_flag=True, help="Those that are deleted, instead of the others.")


@run.command("list")
@_experiment
@_state
@_where
@click.option("--order", multiple=True, help='What to order by: "metrics.auc DESC"; may be repeated.')
@_deleted
@limit
@click.option("--after", default="", help="Read on behind a page: its `next`, as --json shows it.")
@pass_invocation
def list_runs(
    invocation: Invocation, experiment: str | None, state: str | None, where: str, order: tuple[str, ...],
    deleted: bool, limit: int, after: str,
) -> None:  # fmt: skip
    """Runs, newest first."""
    client = invocation.client
    if where or order or deleted or after:
        among, where = (experiment,) if experiment else (), _filter(where, state)
        page = client.runs.search(among, where=where, order=order, deleted=deleted, limit=limit, after=after)
    else:
        page = client.runs.list(experiment=experiment, state=state, limit=limit)
    metrics = {} if invocation.as_json or not page.items else client.runs.metrics([item.id for item in page.items])
    print_list(
        invocation.as_json,
        page,
        {
            "run": lambda run: short(run.id),
            "experiment": lambda run: run.experiment,
            "state": lambda run: run.state,
            "took": _took,
            "started": lambda run: ago(run.started_at),
            "by": lambda run: run.started_by,
            "metrics": lambda run: ", ".join(
                f"{key} {number(value)}" for key, value in sorted(_own(metrics.get(run.id, {})).items())[:3]
            ),
        },
        empty="no runs yet; `headway run PIPELINE` starts one",
    )


@run.command()
@_experiment
@_state
@_where
@_deleted
@pass_invocation
def count(invocation: Invocation, experiment: str | None, state: str | None, where: str, deleted: bool) -> None:
    """How many runs there are."""
    among = (experiment,) if experiment else ()
    found = invocation.client.runs.count(among, where=_filter(where, state), deleted=deleted)
    print_done(invocation.as_json, {"runs": found}, str(found))


@run.command()
@click.argument("identifiers", metavar="RUN...", nargs=-1, required=True)
@pass_invocation
def compare(invocation: Invocation, identifiers: tuple[str, ...]) -> None:
    """Runs side by side: their metrics, and the params that differ."""
    runs = invocation.client.runs
    found = [runs.get(found_by(identifier, runs.list)) for identifier in identifiers]
    metrics = runs.metrics([each.id for each in found])
    if invocation.as_json:
        print_json({"runs": found, "metrics": metrics})
        return
    rows = [["experiment", *(each.experiment for each in found)], ["state", *(each.state.value for each in found)]]
    for key in sorted({key for each in found for key in metrics.get(each.id, {})}):
        values = [metrics.get(each.id, {}).get(key) for each in found]
        rows.append([f"metrics.{key}", *("-" if value is None else number(value) for value in values)])
    for key in sorted({key for each in found for key in each.params}):
        texts = [each.params.get(key, "-") for each in found]
        if len(set(texts)) > 1:
            rows.append([f"params.{key}", *map(clip, texts)])
    print_table(["", *(short(each.id) for each in found)], rows)


@run.command()
@click.argument("identifier", metavar="RUN")
@pass_invocation
def show(invocation: Invocation, identifier: str) -> None:
    """One run: params, metrics, steps and artifacts."""
    runs = invocation.client.runs
    found = runs.get(found_by(identifier, runs.list))
    metrics, steps, artifacts = (
        runs.metrics([found.id]).get(found.id, {}),
        runs.steps(found.id),
        runs.artifacts(found.id),
    )
    if invocation.as_json:
        print_json({"run": found, "metrics": metrics, "steps": steps, "artifacts": artifacts})
        return
    print_facts(
        False,
        found,
        {
            "run": found.state,
            "id": found.id,
            "experiment": found.experiment,
            "pipeline": found.pipeline,
            "change": found.change,
            "parent": found.parent,
            "started": f"{ago(found.started_at)} by {found.started_by}",
            "took": _took(found),
            "command": found.tags.get(COMMAND_TAG, ""),
            "machine": _machine(found, metrics),
            "branch": found.tags.get(BRANCH_TAG, ""),
            "code": found.code.commit + (" with changes" if found.code.dirty else "") or found.code.digest,
            "params": lines(f"{key} = {value}" for key, value in sorted(found.params.items())),
            "tags": lines(f"{key} = {value}" for key, value in sorted(found.tags.items()) if not captured(key)),
            "metrics": lines(f"{key} {number(value)}" for key, value in sorted(_own(metrics).items())),
            "artifacts": lines(f"{item.name} ({size(item.size)})" for item in artifacts),
            "error": found.error,
        },
    )
    if steps:
        print_section("Steps")
        print_table(["step", "state", "took"], [[step.step, step.state, step_took(step)] for step in steps])


def _filter(where: str, state: str | None) -> str:
    return " AND ".join(each for each in (where, f"status = '{state}'" if state else "") if each)


@run.command()
@click.argument("left", metavar="RUN")
@click.argument("right", metavar="OTHER")
@pass_invocation
def diff(invocation: Invocation, left: str, right: str) -> None:
    """What differs between two runs: params, metrics, code and packages."""
    runs = invocation.client.runs
    one, other = (found_by(identifier, runs.list) for identifier in (left, right))
    found = runs.diff(one, other)
    if invocation.as_json:
        print_json(found)
        return
    parts = {"Params": found.params, "Metrics": found.metrics, "Code": found.code, "Packages": found.packages or ()}
    for title, differences in parts.items():
        if differences:
            print_section(title)
            rows = [[each.name, each.left or "-", each.right or "-"] for each in differences]
            print_table([title.lower().removesuffix("s"), short(one), short(other)], rows)
    if found.packages is None:
        click.echo("Packages cannot be compared: one of the two has not captured them.")
    elif not any(parts.values()):
        click.echo("They do not differ in params, metrics, code or packages.")


def _own(metrics: dict[str, float]) -> dict[str, float]:
    """What the run has logged, without what was recorded of the machine."""
    return {key: value for key, value in metrics.items() if not key.startswith(SYSTEM)}


def _machine(run: Run, metrics: dict[str, float]) -> str:
    """Where it ran, and the last that was seen of it."""
    host, last = run.tags.get(HOST_TAG, ""), {key.removeprefix(SYSTEM): value for key, value in metrics.items()}
    seen = [
        f"{name} {last[key]:,.0f} {unit}"
        for key, name, unit in (
            ("cpu_utilization_percentage", "CPU", "%"),
            ("process_memory_usage_megabytes", "memory", "MB"),
            ("gpu_0_utilization_percentage", "GPU", "%"),
        )
        if key in last
    ]
    return f"{host}: {', '.join(seen)}" if seen else host


def _took(run: Run) -> str:
    return duration((run.ended_at - run.started_at).total_seconds()) if run.started_at and run.ended_at else "-"


add_execution(run)
add_removal(run, "RUN", lambda client, text: found_by(text, client.runs.list))
