"""The machinery that a deployment runs on, as the platform sees it."""

from __future__ import annotations

from typing import Protocol

from headway.kernel.records import Value
from headway.lifecycle.rollouts.routing import RoutingTable


class Endpoint(Value):
    """What runs for a deployment now. `generation` is that of the routing table which all its servers have."""

    deployment: str
    url: str
    generation: int
    ready: bool
    error: str = ""
    server: str = ""
    """The server that it shares with other deployments; empty for one of its own."""
    ends: int = 0
    """How often a process that serves it has ended unasked, as far as is known."""


class Target(Protocol):
    """Where model servers live: processes of this machine, a cluster."""

    def apply(self, table: RoutingTable) -> None:
        """Make servers serve `table`, starting or replacing what is needed; called again until they do."""
        ...

    def observe(self, deployment: str) -> Endpoint | None:
        """What runs now, or None before the first `apply`."""
        ...

    def close(self) -> None:
        """Stop every server that this target started."""
        ...
