"""What must be kept of models."""

from __future__ import annotations

from typing import Protocol

from headway.kernel.paging import Page
from headway.lifecycle.models.records import Model, ModelVersion, Registration, Trust


class ModelStore(Protocol):
    def put(self, record: Model) -> None: ...
    def named(self, name: str) -> Model | None: ...
    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Model]: ...


class ModelVersionStore(Protocol):
    def put(self, record: ModelVersion) -> None: ...
    def get(self, identifier: str) -> ModelVersion | None: ...

    def of(self, model: str, number: int | None = None) -> ModelVersion | None:
        """The version with this number, or the newest one."""
        ...

    def made_by(self, run: str) -> ModelVersion | None:
        """The newest version that `run`, or a run inside it, registered."""
        ...

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[ModelVersion]: ...


class RegistrationStore(Protocol):
    def put(self, record: Registration) -> None: ...

    def of(self, model: str, number: int | None = None) -> Registration | None:
        """The registration with this number, or the newest one."""
        ...

    def list(self, model: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Registration]: ...


class TrustStore(Protocol):
    def put(self, record: Trust) -> None: ...

    def of(self, blob: str) -> Trust | None:
        """The word given for this content."""
        ...
