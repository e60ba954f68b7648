"""What goes on now, in one answer: the screen that is looked at first."""

from __future__ import annotations

from headway.kernel.records import Value
from headway.kernel.statistics import Interval, clustered_interval
from headway.lifecycle.changes.records import Change
from headway.lifecycle.monitors.records import Alert
from headway.lifecycle.platform import Platform
from headway.lifecycle.retention.records import Usage
from headway.lifecycle.rollouts.records import Deployment
from headway.lifecycle.rollouts.target import Endpoint, Target
from headway.lifecycle.runs.records import Run, RunState

_LAST_CHANGES = 10
_MOST_RUNS = 50


class RealisedQuality(Value):
    """Mean loss (squared error) of a release over its `n` labelled predictions, with its 95 % interval between days."""

    release: str
    n: int
    mean_loss: float | None
    interval: Interval | None


class DeploymentStatus(Value):
    deployment: Deployment
    endpoint: Endpoint | None
    """None before it serves, and where no target runs."""
    quality: tuple[RealisedQuality, ...]
    """One for each release that has traffic."""


class Status(Value):
    changes: tuple[Change, ...]
    """Those that are open, and the last few, newest first."""
    deployments: tuple[DeploymentStatus, ...]
    alerts: tuple[Alert, ...]
    """Those that are not resolved."""
    runs: tuple[Run, ...]
    """Those that still go."""
    usage: Usage


def status_of(platform: Platform, target: Target | None) -> Status:
    changes = {change.id: change for change in platform.changes.list(limit=_LAST_CHANGES).items}
    changes |= {change.id: change for change in platform.changes.open_ones()}
    going = [
        run
        for state in (RunState.RUNNING, RunState.PENDING)
        for run in platform.runs.list(state=state, limit=_MOST_RUNS).items
    ]
    return Status(
        changes=tuple(changes[identifier] for identifier in sorted(changes, reverse=True)),
        deployments=tuple(
            DeploymentStatus(
                deployment=deployment,
                endpoint=target.observe(deployment.name) if target else None,
                quality=tuple(_quality(platform, deployment.name, share.release) for share in deployment.traffic),
            )
            for deployment in platform.deployments.all()
        ),
        alerts=platform.monitors.unresolved(),
        runs=tuple(sorted(going, key=lambda run: run.id, reverse=True)),
        usage=platform.sweeps.usage(),
    )


def _quality(platform: Platform, deployment: str, release: str) -> RealisedQuality:
    days: dict[str, tuple[int, float]] = {}
    for one in platform.predictions.quality(deployment, release):
        before = days.get(one.day, (0, 0.0))
        days[one.day] = before[0] + one.n, before[1] + one.loss
    n, loss = sum(count for count, _ in days.values()), sum(total for _, total in days.values())
    return RealisedQuality(
        release=release,
        n=n,
        mean_loss=loss / n if n else None,
        interval=clustered_interval(tuple(days.values())) if len(days) > 1 else None,
    )
