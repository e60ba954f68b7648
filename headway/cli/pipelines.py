"""A project's pipelines, run in the process of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.cli.interrupts import resumable
from headway.cli.remembered import RememberedPipeline, remember, remembered
from headway.cli.wish import Loaded, Wish
from headway.cli.workers import find_pipeline
from headway.client.capture import Capture
from headway.client.client import Client
from headway.client.home import PROJECT_FILE
from headway.engines.execution.places import Echo
from headway.engines.pipelines.executor import Report, silent
from headway.engines.pipelines.project import code_of, coerce_params, find_project, load_pipeline
from headway.errors import NotFound
from headway.kernel.naming import nearest
from headway.lifecycle.changes.project import Project, read_capture, read_project
from headway.lifecycle.runs.explanations import Preview
from headway.lifecycle.runs.search_space import Scale
from headway.running.pipelines import quiet, resume_pipeline
from headway.running.recipe import Recipe, recipe_of
from headway.running.searching import begin_search, resume_search
from headway.running.tuning import Search, Study, search_of
from headway.running.where import Execution
from headway.sdk import capture_spec, preview_on, run_on


def run_here(client: Client, wish: Wish, loaded: Loaded | None = None) -> tuple[str, Any]:
    """Returns the run's id and what the pipeline gave. An interrupt ends its steps in good order."""
    folder = find_project(Path.cwd())
    found = loaded or _found(client, folder, wish.name, wish.texts)
    return run_on(
        client, found.pipeline, found.params, folder=folder, report=wish.report, execution=wish.execution,
        echo=wish.echo, tags=wish.recipe, began=wish.began, force=wish.force, explain=wish.explain,
    )  # fmt: skip


def resume_here(
    client: Client, identifier: str, execution: Execution, *, report: Report | None, echo: Echo | None
) -> tuple[str, Any]:
    """Go on with a run of a pipeline of the project that this folder is in."""
    folder = find_project(Path.cwd())
    recipe = recipe_of(client.runs.get(identifier))
    found = _found(client, folder, recipe.pipeline, recipe.params)
    arguments = found.pipeline.bound(found.params)
    with resumable([identifier]):
        return resume_pipeline(
            client, identifier, found.pipeline, arguments, folder=folder, code=code_of(folder),
            capture=Capture(capture_spec(folder), folder), execution=execution, report=report or silent,
            echo=echo or quiet, force=recipe.force,
        )  # fmt: skip


def tune_here(client: Client, name: str, texts: Mapping[str, str], search: Search, execution: Execution) -> Study:
    """Search for params of a pipeline of the project that this folder is in."""
    folder = find_project(Path.cwd())
    found = _found(client, folder, name, {**texts, **_placeholders(search)})
    fixed = {key: value for key, value in found.params.items() if key not in search.space}
    with resumable([]):
        return begin_search(
            client, found.pipeline, fixed, search, folder=folder, code=code_of(folder),
            capture=Capture(capture_spec(folder), folder), execution=execution,
            recipe=Recipe(pipeline=name, params=dict(texts)),
        )  # fmt: skip


def resume_tuning_here(client: Client, identifier: str, execution: Execution) -> Study:
    """Go on with a search of a pipeline of the project that this folder is in."""
    folder, record = find_project(Path.cwd()), client.runs.get(identifier)
    recipe, search = recipe_of(record), search_of(record)
    found = _found(client, folder, recipe.pipeline, {**recipe.params, **_placeholders(search)})
    fixed = {key: value for key, value in found.params.items() if key not in search.space}
    with resumable([identifier]):
        return resume_search(
            client, identifier, found.pipeline, fixed, folder=folder, code=code_of(folder), execution=execution
        )


def _placeholders(search: Search) -> dict[str, str]:
    """One value each of what is searched for, so that none is missing."""
    return {
        name: f"{int(each.low) if each.whole else each.low}" if isinstance(each, Scale) else f"{each.values[0]}"
        for name, each in search.space.items()
    }


def preview_here(client: Client, wish: Wish) -> Preview:
    """What `run_here` would do."""
    folder = find_project(Path.cwd())
    found = _found(client, folder, wish.name, wish.texts)
    return preview_on(client, found.pipeline, found.params, folder=folder, force=wish.force)


def _found(client: Client, folder: Path, name: str, texts: Mapping[str, str]) -> Loaded:
    """A pipeline by its name in `headway.toml`, with the params declared there, or by `module:function`."""
    text = (folder / PROJECT_FILE).read_text()
    if ":" in name:
        pipeline = load_pipeline(folder, name)
        if client.folder is not None and remembered(client.folder, text) is None:
            remember(client.folder, text, {}, read_capture(text))
        return Loaded(pipeline, coerce_params(pipeline, texts))
    project = read_project(text)
    if client.folder is not None:
        remember(client.folder, text, _kept(project), project.capture)
    if name not in project.pipelines:
        declared = ", ".join(project.pipelines) or "none"
        meant = nearest(name, [*project.pipelines, "list", "show"])
        raise NotFound(f"no pipeline {name!r}{meant}; headway.toml declares {declared}")
    return Loaded(*find_pipeline(project, folder, name, texts))


def _kept(project: Project) -> dict[str, RememberedPipeline]:
    return {
        name: RememberedPipeline(entry=spec.entry, steps=spec.steps, params=spec.params)
        for name, spec in project.pipelines.items()
    }
