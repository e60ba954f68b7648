"""Deployments and rollouts, over a connection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from headway.client.http import Connection
from headway.client.line import segment
from headway.kernel.paging import Page
from headway.kernel.records import digest
from headway.lifecycle.predictions.records import Differences, Quality, Segment
from headway.lifecycle.rollouts.records import Deployment, Rollout, TrafficChange
from headway.lifecycle.rollouts.target import Endpoint


class Deployments:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Deployment:
        return self._connection.get(_path(name), Deployment)

    def list(self) -> Page[Deployment]:
        return self._connection.get("/v1/deployments", Page[Deployment])

    def endpoint(self, name: str) -> Endpoint:
        """What runs for the deployment now; raises `NotFound` before it serves."""
        return self._connection.get(_path(name) + "/endpoint", Endpoint)

    def traffic(self, name: str, *, limit: int = 100, before: str | None = None) -> Page[TrafficChange]:
        return self._connection.get(_path(name) + "/traffic", Page[TrafficChange], limit=limit, before=before)

    def served(self, name: str, at: datetime) -> TrafficChange:
        """What served at `at`, and why; raises `NotFound` before the first release."""
        return self._connection.get(_path(name) + "/served", TrafficChange, at=at.isoformat())

    def quality(self, name: str, *, release: str | None = None, since_day: str | None = None) -> tuple[Quality, ...]:
        """Realised quality by release and day of events; days as `2013-04-01`."""
        return self._connection.get(_path(name) + "/quality", tuple[Quality, ...], release=release, since_day=since_day)

    def pin(
        self, name: str, release: str, why: str, *, keys: Collection[str] = (), prefixes: Collection[str] = ()
    ) -> Deployment:
        """Serve callers with these keys, or keys that begin so, by `release`, whatever the shares."""
        body = {"release": release, "why": why, "keys": list(keys), "prefixes": list(prefixes)}
        return self._connection.post(_path(name) + "/pin", Deployment, body)

    def unpin(self, name: str, why: str, *, keys: Collection[str] = (), prefixes: Collection[str] = ()) -> Deployment:
        """Let these callers go where the shares send them; without keys and prefixes, all who are pinned."""
        body = {"why": why, "keys": list(keys), "prefixes": list(prefixes)}
        return self._connection.post(_path(name) + "/unpin", Deployment, body)

    def shadow(self, name: str, release: str, why: str, *, percent: int = 100, tolerance: float = 1e-6) -> Deployment:
        """Let a release that answers nobody score what is asked, off the requests' path."""
        body = {"release": release, "why": why, "percent": percent, "tolerance": tolerance}
        return self._connection.post(_path(name) + "/shadow", Deployment, body)

    def unshadow(self, name: str, why: str) -> Deployment:
        """End the shadow."""
        return self._connection.post(_path(name) + "/unshadow", Deployment, {"why": why})

    def fallback(
        self, name: str, why: str, *, release: str = "", constant: Mapping[str, Any] | None = None, after_ms: int = 0
    ) -> Deployment:
        """Let `release`, then `constant` (a value by output), answer when the model that should does not."""
        body = {"release": release, "constant": dict(constant or {}), "after_ms": after_ms, "why": why}
        return self._connection.post(_path(name) + "/fallback", Deployment, body)

    def unfallback(self, name: str, why: str) -> Deployment:
        """Let failures be failures again."""
        return self._connection.post(_path(name) + "/unfallback", Deployment, {"why": why})

    def differences(self, name: str, rival: str, *, day: str | None = None) -> tuple[Differences, ...]:
        """How the scores of `rival` differed from the answers, by hour of `day` (as `2013-04-01`; the newest)."""
        return self._connection.get(_path(name) + "/differences", tuple[Differences, ...], rival=rival, day=day)

    def ingest(self, name: str, parquet: bytes) -> Segment:
        """Hand in a segment of captured predictions; the same bytes again are the same segment."""
        path = f"{_path(name)}/segments/{segment(digest(parquet))}"
        return self._connection.put(path, Segment, parquet, "application/vnd.apache.parquet")


class Rollouts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, identifier: str) -> Rollout:
        return self._connection.get(f"/v1/rollouts/{segment(identifier)}", Rollout)

    def start(
        self, deployment: str, release: str, *, steps: Sequence[int] = (), why: str = "", rivals: Sequence[str] = ()
    ) -> Rollout:
        """Begin to move `deployment` to `release`, by the environment's steps unless others are given; a bandit may
        compare `rivals` beside it."""
        body = {"deployment": deployment, "release": release, "steps": list(steps), "why": why, "rivals": list(rivals)}
        return self._connection.post("/v1/rollouts", Rollout, body)

    def pause(self, identifier: str, reason: str) -> Rollout:
        """Stay at the present step; harm still sends the candidate back."""
        return self._act(identifier, "pause", reason)

    def resume(self, identifier: str, reason: str) -> Rollout:
        """Go on after a pause."""
        return self._act(identifier, "resume", reason)

    def advance(self, identifier: str, reason: str) -> Rollout:
        """Take the next step now, whatever was shown so far."""
        return self._act(identifier, "advance", reason)

    def roll_back(self, identifier: str, reason: str) -> Rollout:
        """Give all traffic back to what served before."""
        return self._act(identifier, "roll-back", reason)

    def _act(self, identifier: str, verb: str, reason: str) -> Rollout:
        return self._connection.post(f"/v1/rollouts/{segment(identifier)}/{verb}", Rollout, {"reason": reason})

    def list(self, deployment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Rollout]:
        return self._connection.get("/v1/rollouts", Page[Rollout], deployment=deployment, limit=limit, before=before)


def _path(name: str) -> str:
    return f"/v1/deployments/{segment(name)}"
