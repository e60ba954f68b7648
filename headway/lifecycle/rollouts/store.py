"""What must be kept of deployments and rollouts."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.rollouts.records import Deployment, Rollout, TrafficChange


class DeploymentStore(Protocol):
    def put(self, record: Deployment) -> None: ...
    def named(self, name: str) -> Deployment | None: ...
    def all(self) -> list[Deployment]: ...


class TrafficStore(Protocol):
    def put(self, record: TrafficChange) -> None: ...
    def list(self, deployment: str, *, limit: int = 100, before: str | None = None) -> Page[TrafficChange]: ...

    def at(self, deployment: str, moment: datetime) -> TrafficChange | None:
        """The last change of traffic at or before `moment`."""
        ...


class RolloutStore(Protocol):
    def put(self, record: Rollout) -> None: ...
    def get(self, identifier: str) -> Rollout | None: ...

    def open(self, deployment: str | None = None) -> list[Rollout]:
        """Rollouts that are not over."""
        ...

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Rollout]: ...
