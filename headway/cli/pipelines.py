"""A project's pipelines, run in the process of the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.cli.workers import find_pipeline
from headway.client.client import Client
from headway.client.home import PROJECT_FILE
from headway.engines.pipelines.executor import Explain, Report
from headway.engines.pipelines.project import coerce_params, find_project, load_pipeline
from headway.errors import NotFound
from headway.kernel.naming import nearest
from headway.lifecycle.changes.project import read_project
from headway.lifecycle.runs.explanations import Preview
from headway.lifecycle.runs.pipeline import Pipeline
from headway.sdk import preview_on, run_on


@dataclass(frozen=True)
class Wish:
    """What is asked for: a pipeline of the project that this folder is in, its params as they were typed, steps to run
    although they are cached."""

    name: str
    texts: Mapping[str, str]
    force: Collection[str] = ()
    report: Report | None = None
    explain: Explain | None = None


def run_here(client: Client, wish: Wish) -> tuple[str, Any]:
    """Returns the run's id and what the pipeline gave."""
    folder = find_project(Path.cwd())
    pipeline, params = _found(folder, wish.name, wish.texts)
    return run_on(
        client, pipeline, params, folder=folder, report=wish.report, force=wish.force, explain=wish.explain
    )  # fmt: skip


def preview_here(client: Client, wish: Wish) -> Preview:
    """What `run_here` would do."""
    folder = find_project(Path.cwd())
    pipeline, params = _found(folder, wish.name, wish.texts)
    return preview_on(client, pipeline, params, folder=folder, force=wish.force)


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
