"""Monitors and their windows, and the alerts they raise."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.kernel.records import Value
from headway.lifecycle.monitors.records import Alert, Monitor, Window
from headway.server.routing import App, By, get, post


class Note(Value):
    note: str = ""


@get("/v1/monitors")
def monitors(app: App) -> Page[Monitor]:
    """All monitors."""
    return Page(items=tuple(app.platform.monitors.list()))


@get("/v1/monitors/{name:str}")
def monitor(name: FromPath[str], app: App) -> Monitor:
    """One monitor."""
    return app.platform.monitors.get(name)


@get("/v1/monitors/{name:str}/windows")
def windows(
    name: FromPath[str], app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None
) -> Page[Window]:
    """A monitor's answers, one for each day of events and release."""
    return app.platform.monitors.windows(app.platform.monitors.get(name).name, limit=limit, before=before)


@get("/v1/alerts")
def alerts(app: App, limit: FromQuery[int] = 100, before: FromQuery[str | None] = None) -> Page[Alert]:
    """All alerts."""
    return app.platform.monitors.alerts(limit=limit, before=before)


@get("/v1/alerts/{identifier:str}")
def alert(identifier: FromPath[str], app: App) -> Alert:
    """One alert."""
    return app.platform.monitors.alert(identifier)


@post("/v1/alerts/{identifier:str}/acknowledge", status_code=200)
def acknowledge(identifier: FromPath[str], data: JSONBody[Note], app: App, by: By) -> Alert:
    """Say that somebody looks after an alert."""
    return app.platform.monitors.acknowledge(identifier, data.note, by=by)


@post("/v1/alerts/{identifier:str}/resolve", status_code=200)
def resolve(identifier: FromPath[str], data: JSONBody[Note], app: App, by: By) -> Alert:
    """Say that an alert is dealt with."""
    return app.platform.monitors.resolve(identifier, data.note, by=by)


ROUTES = (monitors, monitor, windows, alerts, alert, acknowledge, resolve)
