"""The client: every noun of the platform as an attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from headway.client.blobs import Blobs
from headway.client.capture import Capture
from headway.client.changes import Changes
from headway.client.datasets import Datasets
from headway.client.feature_views import FeatureViews
from headway.client.gates import Environments, Gates
from headway.client.http import Connection, Forwarded
from headway.client.imports import Imports
from headway.client.ledger import Ledger, Lineage
from headway.client.models import Models
from headway.client.monitors import Alerts, Monitors
from headway.client.predictions import Predictions
from headway.client.project import Project
from headway.client.releases import Releases
from headway.client.retention import Records, Retention
from headway.client.rollouts import Deployments, Rollouts
from headway.client.run import Exporter, Run
from headway.client.runs import Experiments, Pipelines, Runs
from headway.client.session import ClientSession
from headway.client.shipping import Shipped, ship
from headway.client.spool import left_behind
from headway.client.tokens import Tokens
from headway.client.triggers import Triggers
from headway.client.webhooks import Webhooks
from headway.kernel.access import Actor
from headway.kernel.clock import Clock, SystemClock
from headway.lifecycle.runs.records import Code, StartRun
from headway.lifecycle.runs.session import Session
from headway.lifecycle.status import Status


class Client:
    """A signed-in client of one server. Close it, or use it as a context manager."""

    def __init__(
        self, connection: Connection, clock: Clock | None = None, spools: Path | None = None,
        line: Callable[[str, str, Code], Session] | None = None,
    ) -> None:  # fmt: skip
        """`spools` is the folder in which runs keep what the server has not got yet. `line` is a run's way to a
        platform that is in this process."""
        self._connection, self._clock, self._spools, self._line = connection, clock or SystemClock(), spools, line
        self.datasets = Datasets(connection)
        self.feature_views = FeatureViews(connection)
        self.experiments = Experiments(connection)
        self.runs = Runs(connection)
        self.pipelines = Pipelines(connection)
        self.models = Models(connection)
        self.environments = Environments(connection)
        self.gates = Gates(connection)
        self.releases = Releases(connection)
        self.deployments = Deployments(connection)
        self.rollouts = Rollouts(connection)
        self.predictions = Predictions(connection)
        self.monitors = Monitors(connection)
        self.alerts = Alerts(connection)
        self.changes = Changes(connection)
        self.triggers = Triggers(connection)
        self.imports = Imports(connection)
        self.ledger = Ledger(connection)
        self.lineage = Lineage(connection)
        self.tokens = Tokens(connection)
        self.webhooks = Webhooks(connection)
        self.project = Project(connection)
        self.blobs = Blobs(connection)
        self.records = Records(connection)
        self.retention = Retention(connection)

    @property
    def url(self) -> str:
        return self._connection.url

    @property
    def folder(self) -> Path | None:
        """The home on this machine in which it keeps what is its own, if there is one."""
        return self._spools.parent if self._spools else None

    @property
    def address(self) -> str:
        """Where another process reaches the server; empty when the platform is in this one."""
        return "" if self._connection.here else self._connection.url

    @property
    def token(self) -> str:
        """The secret that this client shows."""
        return self._connection.token

    def me(self) -> Actor:
        """Who this client's token says it is."""
        return self._connection.get("/v1/me", Actor)

    def status(self) -> Status:
        return self._connection.get("/v1/status", Status)

    def version(self) -> str:
        """The server's version."""
        return self._connection.get("/health", dict[str, str])["version"]

    def start_run(
        self,
        experiment: str,
        exporter: Exporter,
        *,
        name: str = "",
        pipeline: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        parent: str = "",
        change: str = "",
        code: Code | None = None,
        capture: Capture | None = None,
    ) -> Run:
        """Begin a run, and return the handle on it; what it records by itself is `capture`'s business."""
        command = StartRun(
            experiment=experiment,
            name=name,
            pipeline=pipeline,
            parent=parent,
            change=change,
            params={key: str(value) for key, value in (params or {}).items()},
            tags=dict(tags or {}),
            code=code or Code(),
        )
        return Run(self.runs.start(command), self, exporter, self._clock, self._spools, capture)

    def resume(self, run: str, exporter: Exporter, *, capture: Capture | None = None) -> Run:
        """The handle on a run that was started before, here or elsewhere."""
        return Run(self.runs.get(run), self, exporter, self._clock, self._spools, capture)

    def session(self, run: str, pipeline: str, code: Code) -> Session:
        """A run's line to the platform, for whoever executes its pipeline; `pipeline` names the graph that is
        recorded."""
        return self._line(run, pipeline, code) if self._line else ClientSession(self, run, pipeline, code)

    @property
    def spools(self) -> Path | None:
        """Where runs keep what the server has not got yet."""
        return self._spools

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Forwarded:
        """Send a request that another process has made, as this client: status, headers and body of the answer."""
        return self._connection.forward(method, path, headers, body)

    def sync(self) -> list[Shipped]:
        """Send what runs of this home have logged while the server did not answer, or before they were killed."""
        return [ship(path, self.runs, self.url) for path in left_behind(self._spools)] if self._spools else []

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
