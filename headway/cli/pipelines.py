"""A project's pipelines, run in the process of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.client.client import Client
from headway.client.home import PROJECT_FILE
from headway.engines.executor import Report
from headway.engines.project import coerce_params, find_project, load_declared, load_pipeline
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
    pipeline, declared = _found(folder, name)
    params = coerce_params(pipeline, {**declared, **texts})
    return run_on(client, pipeline, params, folder=folder, report=report)


def _found(folder: Path, name: str) -> tuple[Pipeline, Mapping[str, str]]:
    """A pipeline by its name in `headway.toml`, with the params declared there, or by `module:function`."""
    if ":" in name:
        return load_pipeline(folder, name), {}
    declared = read_project((folder / PROJECT_FILE).read_text()).pipelines
    spec = declared.get(name)
    if spec is None:
        known = f"; this project has {', '.join(declared)}" if declared else "; headway.toml declares none"
        raise NotFound(f"no pipeline {name!r}{nearest(name, [*declared, 'list', 'show'])}{known}")
    if spec.steps:
        return load_declared(folder, name, spec.steps), spec.params
    return load_pipeline(folder, spec.entry), spec.params
