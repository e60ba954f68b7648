"""Handing in what was read from another tracker, over a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headway.client.http import Connection
from headway.lifecycle.models.imported import BroughtModel, ImportedModel
from headway.lifecycle.runs.imported import (
    Brought,
    ImportedArtifact,
    ImportedExperiment,
    ImportedLoggedModel,
    ImportedRun,
    ImportedTrace,
)
from headway.lifecycle.runs.records import Experiment


class Imports:
    """In each of these `source` is where it was read; the ledger gives it as the reason."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def experiment(self, source: str, told: ImportedExperiment) -> Experiment:
        body = {"source": source, "experiment": told}
        return self._connection.post("/v1/import/experiment", Experiment, body)

    def runs(self, source: str, told: Sequence[ImportedRun], *, settled: bool) -> tuple[Brought, ...]:
        """Begin to take over runs or, once their points and files are there, settle them."""
        body = {"source": source, "runs": told, "settled": settled}
        return self._connection.post("/v1/import/runs", tuple[Brought, ...], body)

    def points(self, source: str, runs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> int:
        """Add points by run, metric and column, and tell how many were sent; those that are there are kept once."""
        answer = self._connection.post("/v1/import/points", dict[str, int], {"source": source, "runs": runs})
        return answer["points"]

    def artifacts(self, source: str, told: Sequence[ImportedArtifact]) -> None:
        self._connection.post("/v1/import/artifacts", Any, {"source": source, "artifacts": told})

    def logged_models(self, source: str, told: Sequence[ImportedLoggedModel], *, settled: bool) -> tuple[Brought, ...]:
        body = {"source": source, "logged_models": told, "settled": settled}
        return self._connection.post("/v1/import/logged-models", tuple[Brought, ...], body)

    def traces(self, source: str, told: Sequence[ImportedTrace]) -> tuple[Brought, ...]:
        return self._connection.post("/v1/import/traces", tuple[Brought, ...], {"source": source, "traces": told})

    def model(self, source: str, told: ImportedModel) -> BroughtModel:
        return self._connection.post("/v1/import/model", BroughtModel, {"source": source, "model": told})
