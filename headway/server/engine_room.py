"""The engines of a control plane, wired: conductor, scheduler, arrivals, observer, courier and supervisor."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from headway.engines.arrivals import Arrivals
from headway.engines.calendar import CronCalendar
from headway.engines.collector import Collector
from headway.engines.conductor import Conductor
from headway.engines.loop import Loop
from headway.engines.observer import Observer
from headway.engines.scheduler import Scheduler
from headway.engines.targets.process import ProcessTarget
from headway.engines.webhooks.courier import Courier
from headway.engines.workers import Workers
from headway.lifecycle.platform import Platform
from headway.lifecycle.rollouts.target import Target
from headway.server.app import Application
from headway.server.metrics import count_sweep

_PAUSE_S = 0.25
_ARRIVALS_PAUSE_S = 1.0
_COLLECTOR_PAUSE_S = 60.0
WORKER_COMMAND = (sys.executable, "-m", "headway.cli.workers")


@dataclass(frozen=True)
class _Closing:
    """Takes its turn among the engines when they stop: what was started is ended before the database is closed."""

    conductor: Conductor
    target: ProcessTarget
    courier: Courier

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        self.courier.close()
        self.conductor.close()
        self.target.close()


def with_engines(application: Application, project: Path | None) -> Application:
    """The application with its engines, not started yet. `project` is the folder whose pipelines it runs."""
    home, platform = application.home, application.platform

    def url() -> str:
        """Known once the server listens, which is before any engine starts."""
        serving = home.serving()
        return serving.url if serving else ""

    def env(role: str) -> dict[str, str]:
        token = home.token(role).read_text().strip()
        return {"HEADWAY_URL": url(), "HEADWAY_TOKEN": token, "HEADWAY_HOME": str(home.folder)}

    workers = Workers(home.folder / "workers", WORKER_COMMAND, env)
    target = ProcessTarget(home.folder / "deployments", home.blobs, home.server, home.token("worker"))
    conductor = Conductor(
        platform, application.stores.leases, workers, target, application.clock, _holder(home.folder), project
    )
    scheduler = Scheduler(platform, application.clock, CronCalendar())
    arrivals = Arrivals(platform, application.clock, application.settings.arrivals)
    observer = Observer(platform, application.tables.profile_day, application.tables.skewed_day)
    collector = Collector(
        platform,
        application.stores.leases,
        application.clock,
        _holder(home.folder),
        lambda sweep: count_sweep(application.counters, sweep),
    )
    courier = Courier(platform, application.stores.leases, application.clock, _holder(home.folder))
    wait = application.journal.wait
    engines = (
        _Closing(conductor, target, courier),
        Loop("supervisor", lambda: _supervise(platform, target), _PAUSE_S),
        Loop("conductor", conductor.step, _PAUSE_S, wait),
        Loop("scheduler", scheduler.step, _PAUSE_S, wait),
        Loop("arrivals", arrivals.step, _ARRIVALS_PAUSE_S),
        Loop("observer", observer.step, _PAUSE_S, wait),
        Loop("collector", collector.step, _COLLECTOR_PAUSE_S),
        Loop("courier", courier.step, _PAUSE_S, wait),
    )
    return replace(application, target=target, engines=engines)


def _holder(home: Path) -> str:
    """The same after a restart: only one server runs on a home, so it need not wait for its own lease to run out."""
    return f"{socket.gethostname()}:{home}"


def _supervise(platform: Platform, target: Target) -> None:
    """Hold every deployment to what it should serve, whatever died or was killed meanwhile."""
    for deployment in platform.deployments.all():
        if deployment.generation:
            target.apply(platform.deployments.routing(deployment.name))
