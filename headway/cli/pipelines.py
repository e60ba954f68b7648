"""A project's pipelines, run in the process of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.cli.workers import find_pipeline
from headway.client.client import Client
from headway.client.home import PROJECT_FILE
from headway.engines.pipelines.executor import Report
from headway.engines.pipelines.project import coerce_params, find_project, load_pipeline
from headway.errors import NotFound
from headway.kernel.naming import nearest
from headway.lifecycle.changes.project import read_project
from headway.lifecycle.runs.pipeline import Pipeline
from headway.sdk import run_on


def run_here(client: Client, name: str, texts: Mapping[str, str], *, report: Report | None) -> tuple[str, Any]:
    """Run the pipeline `name` of the project that this folder is in; `texts` are its params as they were typed.

    Returns the run's id and what the pipeline gave.
    """
    folder = find_project(Path.cwd())
    pipeline, params = _found(folder, name, texts)
    return run_on(client, pipeline, params, folder=folder, report=report)


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
