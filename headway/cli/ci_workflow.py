"""The workflow that has `headway ci` run in a repository's own service."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from headway.errors import BadSettings
from headway.kernel.version import VERSION

WORKFLOWS = {"github": ".github/workflows/headway.yml", "gitlab": ".gitlab-ci.yml"}
"""Where each service looks for it."""
_BRANCH = "main"


def workflow(service: str, text: str) -> dict[str, str]:
    """The file for the project that `text`, a `headway.toml`, declares: its text by its place. A commit on the main
    branch opens a change of the first pipeline, to the first deployment.

    Raises `BadSettings` for a project that cannot be read, or that declares neither.
    """
    from headway.lifecycle.changes.project import read_project  # noqa: PLC0415

    project = read_project(text)
    pipeline, deployment = next(iter(project.pipelines), None), next(iter(project.deployments), None)
    if pipeline is None or deployment is None:
        raise BadSettings(
            "headway.toml declares no pipeline or no deployment, so there is nothing for a commit to bring"
        )
    template = Template((files("headway.cli") / "templates" / "ci" / f"{service}.yml").read_text())
    filled = template.substitute(branch=_BRANCH, pipeline=pipeline, deployment=deployment, version=VERSION)
    return {WORKFLOWS[service]: filled}
