"""A project's pipelines, run in the process of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.cli.remembered import RememberedPipeline, remember, remembered
from headway.cli.wish import Loaded, Wish
from headway.cli.workers import find_pipeline
from headway.client.client import Client
from headway.client.home import PROJECT_FILE
from headway.engines.pipelines.project import coerce_params, find_project, load_pipeline
from headway.errors import NotFound
from headway.kernel.naming import nearest
from headway.lifecycle.changes.project import Project, read_capture, read_project
from headway.lifecycle.runs.explanations import Preview
from headway.sdk import preview_on, run_on


def run_here(client: Client, wish: Wish, loaded: Loaded | None = None) -> tuple[str, Any]:
    """Returns the run's id and what the pipeline gave."""
    folder = find_project(Path.cwd())
    found = loaded or _found(client, folder, wish.name, wish.texts)
    return run_on(
        client, found.pipeline, found.params, folder=folder, report=wish.report, force=wish.force, explain=wish.explain
    )  # fmt: skip


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
