"""What must be kept of environments."""

from __future__ import annotations

from typing import Protocol

from headway.lifecycle.environments.records import Environment


class EnvironmentStore(Protocol):
    def put(self, record: Environment) -> None: ...
    def named(self, name: str) -> Environment | None: ...
    def all(self) -> list[Environment]: ...
