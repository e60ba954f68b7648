"""A project's pipelines, run in the process of the command line."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from headway.cli.wording import short
from headway.cli.workers import find_pipeline
from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.home import PROJECT_FILE
from headway.engines.execution.parallel import Echo
from headway.engines.pipelines.executor import Report, silent
from headway.engines.pipelines.project import code_of, coerce_params, find_project, load_pipeline
from headway.errors import NotFound, RunCancelled
from headway.kernel.naming import nearest
from headway.lifecycle.changes.project import read_project
from headway.lifecycle.runs.pipeline import Pipeline
from headway.lifecycle.runs.search_space import Scale
from headway.running.options import Execution
from headway.running.pipelines import Recipe, quiet, recipe_of, resume_pipeline
from headway.running.searching import begin_search, resume_search
from headway.running.tuning import Search, Study, search_of
from headway.sdk import capture_spec, run_on


def run_here(
    client: Client, name: str, texts: Mapping[str, str], *, report: Report | None, execution: Execution,
    echo: Echo | None = None,
) -> tuple[str, Any]:  # fmt: skip
    """Run the pipeline `name` of the project that this folder is in; `texts` are its params as they were typed.

    Returns the run's id and what the pipeline gave. An interrupt ends its steps in good order.
    """
    folder = find_project(Path.cwd())
    pipeline, params = _found(folder, name, texts)
    began: list[str] = []
    with _resumable(began):
        return run_on(
            client, pipeline, params, folder=folder, report=report, execution=execution, echo=echo or quiet,
            tags=Recipe(pipeline=name, params=dict(texts)).tag, began=began.append,
        )  # fmt: skip


def resume_here(
    client: Client, identifier: str, execution: Execution, *, report: Report | None, echo: Echo | None
) -> tuple[str, Any]:
    """Go on with a run of a pipeline of the project that this folder is in."""
    folder = find_project(Path.cwd())
    recipe = recipe_of(client.runs.get(identifier))
    pipeline, params = _found(folder, recipe.pipeline, recipe.params)
    bound = pipeline.signature.bind(**params)
    bound.apply_defaults()
    with _resumable([identifier]):
        return resume_pipeline(
            client, identifier, pipeline, bound.arguments, folder=folder, code=code_of(folder),
            capture=Capture(capture_spec(folder), folder), execution=execution, report=report or silent,
            echo=echo or quiet,
        )  # fmt: skip


def tune_here(client: Client, name: str, texts: Mapping[str, str], search: Search, execution: Execution) -> Study:
    """Search for params of a pipeline of the project that this folder is in."""
    folder = find_project(Path.cwd())
    pipeline, params = _found(folder, name, {**texts, **_placeholders(search)})
    fixed = {key: value for key, value in params.items() if key not in search.space}
    with _resumable([]):
        return begin_search(
            client, pipeline, fixed, search, folder=folder, code=code_of(folder),
            capture=Capture(capture_spec(folder), folder), execution=execution,
            recipe=Recipe(pipeline=name, params=dict(texts)),
        )  # fmt: skip


def resume_tuning_here(client: Client, identifier: str, execution: Execution) -> Study:
    """Go on with a search of a pipeline of the project that this folder is in."""
    folder, record = find_project(Path.cwd()), client.runs.get(identifier)
    recipe, search = recipe_of(record), search_of(record)
    pipeline, params = _found(folder, recipe.pipeline, {**recipe.params, **_placeholders(search)})
    fixed = {key: value for key, value in params.items() if key not in search.space}
    with _resumable([identifier]):
        return resume_search(
            client, identifier, pipeline, fixed, folder=folder, code=code_of(folder), execution=execution
        )


def _placeholders(search: Search) -> dict[str, str]:
    """One value each of what is searched for, so that none is missing."""
    return {
        name: f"{int(each.low) if each.whole else each.low}" if isinstance(each, Scale) else f"{each.values[0]}"
        for name, each in search.space.items()
    }


@contextmanager
def _resumable(runs: list[str]) -> Iterator[None]:
    """Take a request to end as an interrupt, and say how to go on."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, RunCancelled):
        if runs:
            click.echo(f"Next: headway run resume {short(runs[-1])}", err=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _found(folder: Path, name: str, texts: Mapping[str, str]) -> tuple[Pipeline, dict[str, object]]:
    """A pipeline by its name in `headway.toml`, with the params declared there, or by `module:function`."""
    if ":" in name:
        pipeline = load_pipeline(folder, name)
        return pipeline, coerce_params(pipeline, texts)
    project = read_project((folder / PROJECT_FILE).read_text())
    if name not in project.pipelines:
        declared = ", ".join(project.pipelines) or "none"
        meant = nearest(name, [*project.pipelines, "list", "show"])
        raise NotFound(f"no pipeline {name!r}{meant}; headway.toml declares {declared}")
    return find_pipeline(project, folder, name, texts)
