"""A whole platform without a socket, whose releases a real model server answers with; what it captures comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from headway.client.client import Client
from headway.client.http import Connection
from headway.client.run import Run
from headway.kernel.access import SYSTEM, Actor, Role
from headway.kernel.records import digest
from headway.lifecycle.changes.records import OpenChange
from headway.lifecycle.environments.records import CheckSpec
from headway.lifecycle.models.records import ModelVersion
from headway.lifecycle.releases.records import Release
from headway.lifecycle.rollouts.routing import RoutingTable
from headway.running.exporter import OnnxExporter
from headway.server.app import compose
from headway.server.local import LocalTransport
from headway.server.settings import Settings
from tests.serving.processes import Blobs, Server

OWNER = Actor(name="owner", role=Role.OWNER)


class Delivered:
    """`client` is the owner's; nothing moves by itself."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.application = folder, compose(Settings(home=folder / ".headway"))
        self.platform = self.application.platform
        secret = self.platform.access.grant("a tester", Role.OWNER, by=SYSTEM)[1]
        self.transport = LocalTransport(self.application)
        self.client = Client(Connection("http://localhost", secret, transport=self.transport))
        self.platform.environments.declare("production", by=SYSTEM, gate=(CheckSpec(check="parity"),), approvals=0)
        self._servers: list[Server] = []

    def run(self, experiment: str = "training") -> Run:
        return self.client.start_run(experiment, OnnxExporter(self.client))

    def declare(self, deployment: str, model: str, **settings: Any) -> None:
        self.platform.deployments.declare(deployment, "production", model, by=SYSTEM, **settings)

    def release(self, version: ModelVersion, deployment: str) -> Release:
        """Signed by break-glass, for tests of what comes after it."""
        command = OpenChange(deployment=deployment, model_version=version.id)
        change = self.platform.changes.open(command, by=OWNER)
        return self.platform.releases.sign(
            change.id, version.id, "production", authors=(), by=OWNER, break_glass="a test"
        )  # fmt: skip

    def ship(self, version: ModelVersion, deployment: str) -> Release:
        """Released, and serving everybody."""
        release = self.release(version, deployment)
        rollouts = self.platform.rollouts
        rollout = rollouts.start(deployment, release.id, by=SYSTEM)
        for step in range(len(rollout.steps)):
            rollouts.advance(rollout.id, step, "a test", by=SYSTEM)
        rollouts.promote(rollout.id, "a test", by=SYSTEM)
        return release

    def serve(self, deployment: str, *options: str, table: RoutingTable | None = None) -> Server:
        """By `table`, if there is one, in the place of the deployment's own."""
        folder = self._folder / f"server-{len(self._servers)}"
        folder.mkdir()
        server = Server(folder, Blobs(self._folder / ".headway" / "blobs"), *options)
        server.route(table or self.platform.deployments.routing(deployment))
        self._servers.append(server)
        return server.start()

    def bring_back(self, server: Server, deployment: str) -> pl.DataFrame:
        """Hand in what the server has captured, as it would itself."""
        server.flush()
        for file in server.spool.glob("*.parquet"):
            data = file.read_bytes()
            self.platform.predictions.ingest(deployment, digest(data), data, by=SYSTEM)
        return server.rows()

    def close(self) -> None:
        for server in self._servers:
            if server.process.poll() is None:
                server.kill()
        self.transport.close()


@contextmanager
def delivered(folder: Path) -> Iterator[Delivered]:
    world = Delivered(folder)
    try:
        yield world
    finally:
        world.close()
