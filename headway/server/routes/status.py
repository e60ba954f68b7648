"""How the platform is."""

from __future__ import annotations

from headway.kernel.records import Value
from headway.kernel.version import VERSION
from headway.lifecycle.status import Status, status_of
from headway.server.metrics import exposition
from headway.server.routing import App, get


class Health(Value):
    status: str


class Version(Value):
    version: str


@get("/health")
def health() -> Health:
    """Whether the server answers."""
    return Health(status="ok")


@get("/version")
def version() -> Version:
    """The version of Headway that runs."""
    return Version(version=VERSION)


@get("/v1/status")
def status(app: App) -> Status:
    """What goes on now: changes, deployments, alerts and runs."""
    return status_of(app.platform, app.target)


@get("/metrics", media_type="text/plain; version=0.0.4")
def metrics(app: App) -> str:
    """What Prometheus asks for."""
    return exposition(app.platform, app.counters)


ROUTES = (health, version, status, metrics)
