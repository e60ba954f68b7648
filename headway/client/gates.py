"""Environments and gates, over a connection."""

from __future__ import annotations

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.lifecycle.environments.records import Environment
from headway.lifecycle.gates.records import Evidence, Judge, Verdict


class Environments:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Environment:
        return self._connection.get(f"/v1/environments/{segment(name)}", Environment)

    def list(self) -> Page[Environment]:
        return self._connection.get("/v1/environments", Page[Environment])


class Gates:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def judge(self, command: Judge) -> Verdict:
        """Come to a verdict from what was measured; takes the gatekeeper's token."""
        return self._connection.post("/v1/gates/verdicts", Verdict, command)

    def verdict(self, identifier: str) -> Verdict:
        return self._connection.get(f"/v1/gates/verdicts/{segment(identifier)}", Verdict)

    def evidence(self, identifier: str) -> Evidence:
        return self._connection.get(f"/v1/gates/evidence/{segment(identifier)}", Evidence)

    def list(self, model_version: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Verdict]:
        return self._connection.get(
            "/v1/gates/verdicts", Page[Verdict], model_version=model_version, limit=limit, before=before
        )
