"""`docs/projects.md` has every table, key, default, check and setting of a project, and no other."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from headway.engines.gates.gatekeeper import BUILT_IN
from headway.kernel.quotas import Quotas
from headway.kernel.records import Value
from headway.lifecycle.changes.project import (
    CiSpec,
    DatasetSpec,
    DeploymentSpec,
    EnvironmentSpec,
    ModelSpec,
    MonitorSpec,
    PipelineSpec,
    Project,
    TriggerSpec,
)
from headway.lifecycle.changes.records import Cause
from headway.lifecycle.environments.records import RolloutPolicy
from headway.lifecycle.gates.names import CHECKS
from headway.lifecycle.models.records import PythonRuntime
from headway.lifecycle.monitors.records import Watches
from headway.lifecycle.monitors.settings import SETTINGS
from headway.lifecycle.retention.policy import RetentionPolicy
from headway.lifecycle.rollouts.limits import Limits
from headway.lifecycle.rollouts.sampling import Sampling
from headway.lifecycle.rollouts.sticky import Sticky
from headway.lifecycle.runs.capture import CaptureSpec
from headway.lifecycle.runs.pipeline import DeclaredStep
from tests.architecture.documents import below, codes, section

PAGE = "docs/projects.md"
ENTRIES: dict[str, type[Value]] = {
    "pipelines": PipelineSpec,
    "datasets": DatasetSpec,
    "models": ModelSpec,
    "environments": EnvironmentSpec,
    "deployments": DeploymentSpec,
    "runtimes": PythonRuntime,
    "monitors": MonitorSpec,
    "triggers": TriggerSpec,
}
TABLES = {f"[{name}.NAME]": kind for name, kind in ENTRIES.items()} | {
    "[pipelines.NAME.steps.STEP]": DeclaredStep,
    "[environments.NAME.rollout]": RolloutPolicy,
    "[deployments.NAME.limits]": Limits,
    "[deployments.NAME.capture]": Sampling,
    "[deployments.NAME.sticky]": Sticky,
    "[retention]": RetentionPolicy,
    "[quotas]": Quotas,
    "[capture]": CaptureSpec,
    "[ci]": CiSpec,
}


def told(heading: str) -> dict[str, str]:
    return {codes(row[0])[0]: row[1] for row in section(PAGE, heading).rows}


def expected(kind: type[Value], *, without: str = "") -> dict[str, str]:
    """By key: its default as the page shows it."""
    return {field.name: _shown(field) for field in msgspec.structs.fields(kind) if field.name != without}


def _shown(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    default: Any = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(default, Value):
        return "the defaults below"
    if isinstance(default, float):
        default = int(default) if default.is_integer() else default
    return f"`{json.dumps(default)}`"


def test_every_table_has_its_heading() -> None:
    headings = {each.path[-1] for each in below(PAGE, "Projects: `headway.toml`") if each.path[-1].startswith("[")}
    assert headings == {"[project]", *TABLES}
    assert {"name", "retention", "quotas", "capture", "ci", *ENTRIES} == set(Project.__struct_fields__)


@pytest.mark.parametrize("heading", TABLES)
def test_keys_and_defaults_of_a_table(heading: str) -> None:
    assert told(heading) == expected(TABLES[heading], without="settings" if "monitors" in heading else "")


@pytest.mark.parametrize("watches", Watches)
def test_settings_of_a_monitor(watches: Watches) -> None:
    assert told(f'Settings of `watches = "{watches}"`') == expected(SETTINGS[watches])


def test_what_may_be_chosen_is_named() -> None:
    text = section(PAGE, "[triggers.NAME]").text + section(PAGE, "[monitors.NAME]").text
    assert [choice for choice in (*Cause, *Watches) if f'`"{choice}"`' not in text] == []


def test_every_check_has_its_heading() -> None:
    headings = [codes(each.path[-1])[0] for each in below(PAGE, "Checks") if len(each.path) > 1]
    assert headings == list(CHECKS) == list(BUILT_IN)


@pytest.mark.parametrize("check", CHECKS)
def test_settings_of_a_check(check: str) -> None:
    assert told(f"`{check}`") == expected(CHECKS[check])
