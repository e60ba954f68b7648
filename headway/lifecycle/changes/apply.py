"""Making the platform be as a project says. What is declared again as it was stays untouched; nothing is removed."""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import asdict

from headway.kernel.access import Actor
from headway.kernel.clock import Clock
from headway.kernel.ids import Ids
from headway.kernel.records import Value
from headway.lifecycle.changes.project import Project
from headway.lifecycle.changes.records import Trigger
from headway.lifecycle.changes.triggers import TriggerService
from headway.lifecycle.environments.service import EnvironmentService
from headway.lifecycle.gates.names import CHECKS, settings_of
from headway.lifecycle.monitors.service import MonitorService
from headway.lifecycle.retention.sweeping import SweepService
from headway.lifecycle.rollouts.deployments import DeploymentService


class Applied(Value):
    """Names of what the project declares."""

    environments: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    monitors: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()


class Services(Protocol):
    """What things are declared with; the platform has them."""

    @property
    def environments(self) -> EnvironmentService: ...
    @property
    def deployments(self) -> DeploymentService: ...
    @property
    def monitors(self) -> MonitorService: ...
    @property
    def sweeps(self) -> SweepService: ...
    @property
    def triggers(self) -> TriggerService: ...


def apply(project: Project, services: Services, *, clock: Clock, ids: Ids, by: Actor) -> Applied:
    """Declare all of `project`, each thing after what it names; cut short, it is made whole by applying again.

    Raises `BadSettings` for a check of the platform with settings that it does not have, before anything is declared,
    and `Conflict` for a deployment that serves releases of another environment than it is to be in.
    """
    for environment in project.environments.values():
        for spec in environment.gate:
            if spec.check in CHECKS:
                settings_of(spec)
    for name, trigger in project.triggers.items():
        services.triggers.check(name, trigger.time_zone)
    for name, environment in project.environments.items():
        services.environments.declare(name, by=by, **asdict(environment))
    for name, deployment in project.deployments.items():
        told = {key: value for key, value in asdict(deployment).items() if key != "runtime"}
        services.deployments.declare(name, by=by, python=project.runtimes.get(deployment.runtime), **told)
    for name, monitor in project.monitors.items():
        services.monitors.declare(name, by=by, **asdict(monitor))
    for name, trigger in project.triggers.items():
        made = Trigger(id=ids(Trigger.prefix), created_at=clock.now(), name=name, **asdict(trigger))
        services.triggers.declare(made, by=by)
    services.sweeps.declare(project.retention, project.quotas, by=by)
    return Applied(
        environments=tuple(project.environments),
        deployments=tuple(project.deployments),
        monitors=tuple(project.monitors),
        triggers=tuple(project.triggers),
    )
