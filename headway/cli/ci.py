"""`headway ci`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headway.cli.invocation import Invocation
from headway.cli.nouns import Verb, pass_invocation
from headway.cli.output import print_json

if TYPE_CHECKING:
    from headway.cli.ci_project import Looked
    from headway.cli.ci_report import Report
    from headway.client.client import Client

_SUMMARY = "GITHUB_STEP_SUMMARY"
_NO_COMMIT = "0" * 40
"""What GitHub and GitLab say is before the first push of a branch."""


@click.command(cls=Verb)
@click.option("--base", metavar="REV", default="", help="Run only what is not as in this commit.")
@click.option(
    "--report", "place", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report here too, as Markdown.",
)  # fmt: skip
@click.option("--check-only", is_flag=True, help="Look the project through, and run nothing.")
@pass_invocation
def ci(invocation: Invocation, base: str, place: Path | None, check_only: bool) -> int:
    """Test the project you are in: what it declares, its pipelines on samples and whole, its models at their gates."""
    from headway.cli.ci_report import markdown  # noqa: PLC0415
    from headway.engines.pipelines.project import find_project  # noqa: PLC0415

    report = examined(invocation, find_project(Path.cwd()), "" if base == _NO_COMMIT else base, check_only)
    text = markdown(report)
    if place is not None:
        place.write_text(text)
    if os.environ.get(_SUMMARY):
        with Path(os.environ[_SUMMARY]).open("a") as summary:
            summary.write(text)
    if invocation.as_json:
        print_json({"report": report, "exit_code": report.exit_code})
    else:
        click.echo(text, nl=False)
    return report.exit_code


def examined(invocation: Invocation, folder: Path, base: str, check_only: bool) -> Report:
    """Everything in turn; what is wrong with the project ends it before anything is run."""
    from headway.cli.ci_project import changed_since, look_through  # noqa: PLC0415
    from headway.cli.ci_report import Report  # noqa: PLC0415

    looked = look_through(folder)
    report = Report(mistakes=looked.mistakes, contracts={n: len(c.columns) for n, c in looked.contracts.items()})
    if looked.project is not None:
        kinds = ("pipelines", "datasets", "models", "environments", "deployments", "monitors", "triggers")
        counts = {kind: len(getattr(looked.project, kind)) for kind in kinds}
        report = report.but(project=looked.project.name, declared={kind: n for kind, n in counts.items() if n})
    if report.mistakes:
        return report
    if base:
        commit, changes = changed_since(folder, base)
        report = report.but(base=commit, changed=changes)
    return report if check_only else _with_runs(invocation, folder, looked, report)


def _with_runs(invocation: Invocation, folder: Path, looked: Looked, report: Report) -> Report:
    from headway.cli.ci_gate import judged  # noqa: PLC0415
    from headway.cli.ci_runs import run_on_all, run_on_samples  # noqa: PLC0415
    from headway.client.home import find_home  # noqa: PLC0415
    from headway.engines.pipelines.project import coerce_params, load_spec  # noqa: PLC0415
    from headway.engines.runtimes.environments import FOLDER  # noqa: PLC0415

    project = looked.project
    assert project is not None, "a project without mistakes was read"
    chosen = [
        name for name in project.ci.pipelines or project.pipelines if report.changed is None or name in report.changed
    ]
    if not chosen:
        return report
    environments = find_home(invocation.home) / FOLDER
    with _places(invocation) as (here, there):
        for name in chosen:
            own = project.pipelines[name].params
            pipeline = load_spec(folder, name, project.pipelines[name])
            params = coerce_params(pipeline, own | project.ci.params.get(name, {}))
            sampled, notes = run_on_samples(there or here, project, name, pipeline, params, folder)
            report = report.but(ran=(*report.ran, *filter(None, [sampled])), notes=(*report.notes, *notes))
            if sampled and sampled.error:
                continue
            params = coerce_params(pipeline, own)
            whole, made = run_on_all(here, there, name, pipeline, params, project.datasets, folder)
            found = [
                each for version in made for each in judged(here, there or here, project, name, version, environments)
            ]
            report = report.but(ran=(*report.ran, whole), judged=(*report.judged, *found))
    return report


@contextmanager
def _places(invocation: Invocation) -> Iterator[tuple[Client, Client | None]]:
    """The home of this checkout, which is written to, and the server that is read from, if one is named."""
    from headway.cli.ci_runs import home_at, share  # noqa: PLC0415
    from headway.client.home import find_home  # noqa: PLC0415

    with home_at(find_home(invocation.home)) as here:
        there = invocation.client if invocation.url or os.environ.get("HEADWAY_URL") else None
        if there is not None:
            share(here, there)
        yield here, there
