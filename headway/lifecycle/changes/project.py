"""The project as `headway.toml` declares it: read whole, checked, and refused with the place of the first mistake.

Sections become values that bear the names of their records' fields; what one names of another must be declared.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from typing import Any

from headway.errors import BadPipeline, BadSettings
from headway.kernel.naming import nearest
from headway.kernel.quotas import Quotas, checked_quotas
from headway.kernel.records import Value
from headway.lifecycle.changes.records import Cause
from headway.lifecycle.changes.tables import (
    Table,
    check_keys,
    check_values,
    convert,
    must,
    named,
    sections,
    table,
    texts,
    told,
)
from headway.lifecycle.changes.trigger_spec import TriggerSpec, checked_trigger
from headway.lifecycle.environments.records import CheckSpec, RolloutKind, RolloutPolicy
from headway.lifecycle.models.records import PythonRuntime
from headway.lifecycle.monitors.records import Watches
from headway.lifecycle.retention.policy import RetentionPolicy, checked_policy
from headway.lifecycle.rollouts.limits import UNLIMITED, Limits, checked_limits
from headway.lifecycle.rollouts.routing import Workers
from headway.lifecycle.rollouts.rules import rising
from headway.lifecycle.rollouts.sampling import EVERYTHING, Sampling, checked_sampling
from headway.lifecycle.rollouts.sticky import ANYWHERE, Sticky, checked_sticky
from headway.lifecycle.runs.capture import CaptureSpec
from headway.lifecycle.runs.pipeline import DeclaredStep, order

_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class PipelineSpec(Value):
    """Either `entry`, a pipeline as `module:function`, or `steps`, a graph by name. `params` are for runs that give
    none of that name."""

    entry: str = ""
    steps: dict[str, DeclaredStep] = {}
    params: dict[str, str] = {}


class DatasetSpec(Value):
    about: str = ""


class ModelSpec(Value):
    about: str = ""


class EnvironmentSpec(Value):
    gate: tuple[CheckSpec, ...] = ()
    approvals: int = 0
    approvers: tuple[str, ...] = ()
    rollout: RolloutPolicy = RolloutPolicy()


class DeploymentSpec(Value):
    environment: str
    model: str
    target: str = "process"
    server: str = ""
    """The model server that it shares with the other deployments that name it; empty for one of its own."""
    workers: Workers = 1
    limits: Limits = UNLIMITED
    capture: Sampling = EVERYTHING
    sticky: Sticky = ANYWHERE
    runtime: str = ""
    """What runs models that are not ONNX, by its name in [runtimes]; empty for the platform's own interpreter."""


class MonitorSpec(Value):
    deployment: str
    watches: Watches
    settings: dict[str, Any] = {}


class CiSpec(Value):
    """What `headway ci` runs: each pipeline on samples, if `datasets` or its `params` say of what, and then whole."""

    pipelines: tuple[str, ...] = ()
    """All, when there are none."""
    datasets: tuple[str, ...] = ()
    """Those that are sampled."""
    sample_rows: int = 1000
    params: dict[str, dict[str, str]] = {}


class Project(Value):
    """All of `headway.toml`, each section by name."""

    name: str
    pipelines: dict[str, PipelineSpec]
    datasets: dict[str, DatasetSpec]
    models: dict[str, ModelSpec]
    environments: dict[str, EnvironmentSpec]
    deployments: dict[str, DeploymentSpec]
    monitors: dict[str, MonitorSpec]
    triggers: dict[str, TriggerSpec]
    retention: RetentionPolicy = RetentionPolicy()
    quotas: Quotas = Quotas()
    capture: CaptureSpec = CaptureSpec()
    ci: CiSpec = CiSpec()
    runtimes: dict[str, PythonRuntime] = {}


_SECTIONS = Project.__struct_fields__[1:]


def read_capture(text: str) -> CaptureSpec:
    """What runs of the project that `text` declares record by themselves, whatever else it says.

    Raises `BadSettings` as `read_project` does.
    """
    spec = convert(table(_whole(text).get("capture", {}), "[capture]"), CaptureSpec, "[capture]")
    must(spec.every_s >= 1, f"[capture] every_s must be at least 1, not {spec.every_s}")
    return spec


def _whole(text: str) -> Table:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"headway.toml cannot be read: {error}") from None


def read_project(text: str, *, checks: Collection[str] | None = None) -> Project:
    """The project that `text` declares. With `checks`, a gate may demand only those.

    Raises `BadSettings` naming the place: the line of what is no TOML, else table and key.
    """
    whole = _whole(text)
    check_keys(whole, ("project", *_SECTIONS), "headway.toml")
    check_values(whole, "")
    project = table(whole.get("project", {}), "[project]")
    check_keys(project, ("name",), "[project]")
    if not isinstance(project.get("name"), str):
        raise BadSettings(f'[project] needs a name = "..." of text, not {told(project.get("name"))}')
    found = Project(
        name=named(project["name"], "project", "[project] name"),
        pipelines={name: _pipeline(each, at) for name, each, at in _each(whole, "pipelines")},
        datasets={name: convert(each, DatasetSpec, at) for name, each, at in _each(whole, "datasets")},
        models={name: convert(each, ModelSpec, at) for name, each, at in _each(whole, "models")},
        environments={name: _environment(each, at, checks) for name, each, at in _each(whole, "environments")},
        deployments={name: _deployment(each, at) for name, each, at in _each(whole, "deployments")},
        runtimes={name: _runtime(each, at) for name, each, at in _each(whole, "runtimes")},
        monitors={name: _monitor(each, at) for name, each, at in _each(whole, "monitors")},
        triggers={name: checked_trigger(each, at) for name, each, at in _each(whole, "triggers")},
        retention=_retention(table(whole.get("retention", {}), "[retention]")),
        quotas=checked_quotas(convert(table(whole.get("quotas", {}), "[quotas]"), Quotas, "[quotas]"), "[quotas]"),
        capture=read_capture(text),
        ci=_ci(table(whole.get("ci", {}), "[ci]")),
    )
    _check_references(found)
    return found


def _each(whole: Table, section: str) -> Iterable[tuple[str, Table, str]]:
    """Name, table and place of each `[section.name]`."""
    for name, each in sections(whole, section, section.removesuffix("s")).items():
        yield name, each, f"[{section}.{name}]"


def _pipeline(given: Table, at: str) -> PipelineSpec:
    spec = convert({**given, "params": texts(given.get("params", {}), f"{at} params"), "steps": {}}, PipelineSpec, at)
    steps = table(given.get("steps", {}), f"{at} steps")
    if bool(spec.entry) == bool(steps):
        raise BadSettings(
            f'{at} takes one of entry = "module:function" and steps, not {"both" if steps else "neither"}'
        )
    if spec.entry:
        return spec.but(entry=_entry(spec.entry, f"{at} entry"))
    inner = at.removesuffix("]") + ".steps"
    declared = {
        named(name, "step", f"{inner}]"): convert(table(each, f"{inner}.{name}]"), DeclaredStep, f"{inner}.{name}]")
        for name, each in steps.items()
    }
    for name, node in declared.items():
        _entry(node.call, f"{inner}.{name}] call")
    try:
        order([node.node(name) for name, node in declared.items()])
    except BadPipeline as error:
        raise BadSettings(f"{inner}]: {error}") from None
    return spec.but(steps=declared)


def _entry(text: str, at: str) -> str:
    if not _ENTRY.fullmatch(text):
        raise BadSettings(f"{at}: {text[:100]!r} is no entry; write module:function, such as pipeline:train")
    return text


def _environment(given: Table, at: str, checks: Collection[str] | None) -> EnvironmentSpec:
    gate = given.get("gate", [])
    if not isinstance(gate, list):
        raise BadSettings(f"{at} gate must be a list of checks, not {told(gate)}")
    place = at.removesuffix("]") + ".rollout]"
    policy = convert(table(given.get("rollout", {}), place), RolloutPolicy, place)
    _check_policy(policy, place)
    spec = convert({**given, "gate": [], "rollout": {}}, EnvironmentSpec, at)
    must(spec.approvals >= 0, f"{at} approvals must not be negative")
    must(len(set(spec.approvers)) == len(spec.approvers), f"{at} approvers names somebody twice")
    enough = not spec.approvers or spec.approvals <= len(spec.approvers)
    must(enough, f"{at} approvals: {spec.approvals} cannot come from {len(spec.approvers)} approvers")
    demanded = tuple(_check_spec(item, f"{at} gate[{index}]", checks) for index, item in enumerate(gate))
    names = [each.check for each in demanded]
    twice = next((name for name in names if names.count(name) > 1), None)
    must(twice is None, f"{at} gate demands {twice!r} twice; give all its settings in one table")
    return spec.but(gate=demanded, rollout=policy)


def _check_spec(item: Any, at: str, checks: Collection[str] | None) -> CheckSpec:
    settings = {"check": item} if isinstance(item, str) else dict(table(item, at))
    name = settings.pop("check", None)
    if not isinstance(name, str):
        raise BadSettings(f'{at} needs check = "..." with the name of a check, not {told(name)}')
    if checks is not None and name not in checks:
        meant = nearest(name, checks) or f"; there are: {', '.join(sorted(checks))}"
        raise BadSettings(f"{at}: there is no check {name[:100]!r}{meant}")
    return CheckSpec(check=name, settings=settings)


def _check_policy(policy: RolloutPolicy, at: str) -> None:
    must(rising(policy.steps), f"{at} steps must rise from at least 1 and end at 100, such as [10, 50, 100]")
    contest = policy.kind is RolloutKind.AB
    must(
        not contest or (policy.mirror and len(policy.steps) == 2), f"{at} kind ab takes mirror and two steps: [50, 100]"
    )
    must(
        policy.kind is not RolloutKind.BANDIT or len(policy.steps) == 2,
        f"{at} kind bandit takes two steps, the first share and all: [50, 100]",
    )
    must(1 <= policy.arm_floor <= 50, f"{at} arm_floor is a percentage from 1 to 50, not {policy.arm_floor}")
    must(0.5 < policy.best_chance < 1, f"{at} best_chance must be above 0.5 and below 1, not {policy.best_chance}")
    must(policy.arm_days >= 2, f"{at} arm_days must be at least 2: one day shows nothing of how days stray")
    must(0 < policy.alpha < 1, f"{at} alpha must be above 0 and below 1, not {policy.alpha}")
    for name in ("max_error_rate", "max_slow_rate"):
        must(0 <= getattr(policy, name) <= 1, f"{at} {name} is a share from 0 to 1, not {getattr(policy, name)}")
    for name in ("min_requests", "min_labels", "quality_margin"):
        must(getattr(policy, name) >= 0, f"{at} {name} must not be negative")
    must(policy.label_lag_days >= 0, f"{at} label_lag_days must not be negative")
    for name in (
        "latency_budget_us",
        "patience_s",
        "period_days",
        "period_labels",
        "ab_periods",
        "batch_labels",
        "arm_labels",
    ):
        must(getattr(policy, name) > 0, f"{at} {name} must be above 0")


def _deployment(given: Table, at: str) -> DeploymentSpec:
    place = at.removesuffix("]") + ".limits]"
    limits = checked_limits(convert(table(given.get("limits", {}), place), Limits, place), place)
    place = at.removesuffix("]") + ".capture]"
    capture = checked_sampling(convert(table(given.get("capture", {}), place), Sampling, place), place)
    place = at.removesuffix("]") + ".sticky]"
    sticky = checked_sticky(convert(table(given.get("sticky", {}), place), Sticky, place), place)
    plain = {**given, "limits": {}, "capture": {}, "sticky": {}}
    spec = convert(plain, DeploymentSpec, at).but(limits=limits, capture=capture, sticky=sticky)
    if spec.server:
        named(spec.server, "server", f"{at} server")
    return spec


def _monitor(given: Table, at: str) -> MonitorSpec:
    own: Table = {key: given[key] for key in ("deployment", "watches") if key in given}
    settings = {key: value for key, value in given.items() if key not in own}
    for key, value in settings.items():
        plain = all(
            isinstance(each, bool | int | float | str) for each in (value if isinstance(value, list) else [value])
        )
        must(plain, f"{at} {key} must be a number, text, true or false, or a list of these, not {told(value)}")
    return convert({**own, "settings": settings}, MonitorSpec, at)


def _runtime(given: Table, at: str) -> PythonRuntime:
    spec = convert(given, PythonRuntime, at)
    must(
        not spec.python or spec.python.startswith("/"), f"{at} python must be a whole path, such as /opt/env/bin/python"
    )
    for name in ("memory_mb", "time_limit_s", "start_limit_s"):
        must(getattr(spec, name) > 0, f"{at} {name} must be above 0")
    return spec


def _ci(given: Table) -> CiSpec:
    params = table(given.get("params", {}), "[ci.params]")
    told = {name: texts(each, f"[ci.params.{name}]") for name, each in params.items()}
    spec = convert({**given, "params": told}, CiSpec, "[ci]")
    must(spec.sample_rows >= 1, f"[ci] sample_rows must be at least 1, not {spec.sample_rows}")
    return spec


def _retention(given: Table) -> RetentionPolicy:
    return checked_policy(convert(given, RetentionPolicy, "[retention]"), "[retention]")


def _check_references(project: Project) -> None:
    for name, deployment in project.deployments.items():
        at = f"[deployments.{name}]"
        _refers(deployment.environment, project.environments, "environments", f"{at} environment")
        _refers(deployment.model, project.models, "models", f"{at} model")
        if deployment.runtime:
            _refers(deployment.runtime, project.runtimes, "runtimes", f"{at} runtime")
    for name, monitor in project.monitors.items():
        _refers(monitor.deployment, project.deployments, "deployments", f"[monitors.{name}] deployment")
    for name in (*project.ci.pipelines, *project.ci.params):
        _refers(name, project.pipelines, "pipelines", "[ci]")
    for name in project.ci.datasets:
        _refers(name, project.datasets, "datasets", "[ci] datasets")
    for name, trigger in project.triggers.items():
        at = f"[triggers.{name}]"
        _refers(trigger.pipeline, project.pipelines, "pipelines", f"{at} pipeline")
        _refers(trigger.deployment, project.deployments, "deployments", f"{at} deployment")
        if trigger.on is Cause.ALERT:
            _refers(trigger.source, project.monitors, "monitors", f"{at} source")
        elif trigger.on is Cause.DATASET:
            _refers(trigger.source, project.datasets, "datasets", f"{at} source")


def _refers(name: str, known: Collection[str], section: str, at: str) -> None:
    what = section.removesuffix("s")
    meant = nearest(name, known) or f"; declare [{section}.{name or 'name'}]"
    must(name in known, f"{at}: there is no {what} {name[:100]!r}{meant}")
