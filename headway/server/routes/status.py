"""How the platform is."""

from __future__ import annotations

from headway.kernel.records import Value
from headway.kernel.version import VERSION
from headway.lifecycle.status import Status, status_of
from headway.server.metrics import exposition
from headway.server.mlflow.wire import PROTOCOL
from headway.server.routing import TEXT, App, get


class Health(Value):
    status: str
    version: str
    """Of Headway."""


@get("/health")
def health() -> Health:
    """Whether the server answers, and its version."""
    return Health(status="ok", version=VERSION)


@get("/version", media_type=TEXT)
def version() -> str:
    """The version of MLflow whose protocol is spoken: MLflow's clients send spans only to one that they know."""
    return PROTOCOL


@get("/v1/status")
def status(app: App) -> Status:
    """What goes on now: changes, deployments, alerts and runs."""
    return status_of(app.platform, app.target)


@get("/metrics", media_type="text/plain; version=0.0.4")
def metrics(app: App) -> str:
    """What Prometheus asks for."""
    return exposition(app.platform, app.counters)


ROUTES = (health, version, status, metrics)
