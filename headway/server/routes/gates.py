"""Environments, and the verdicts of their gates."""

from __future__ import annotations

from litestar.params import FromPath, FromQuery, JSONBody

from headway.kernel.paging import Page
from headway.lifecycle.environments.records import Environment
from headway.lifecycle.gates.records import Evidence, Judge, Verdict
from headway.server.routing import App, By, get, post


@get("/v1/environments")
def environments(app: App) -> Page[Environment]:
    """All environments, with their gates and rollout policies."""
    return Page(items=tuple(app.platform.environments.list()))


@get("/v1/environments/{name:str}")
def environment(name: FromPath[str], app: App) -> Environment:
    """One environment."""
    return app.platform.environments.get(name)


@post("/v1/gates/verdicts")
def judge(data: JSONBody[Judge], app: App, by: By) -> Verdict:
    """Come to a verdict from what was measured; a change gets its verdict once."""
    return app.platform.gates.judge(data, by=by)


@get("/v1/gates/verdicts")
def verdicts(
    app: App,
    model_version: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
    before: FromQuery[str | None] = None,
) -> Page[Verdict]:
    """Verdicts on one model version (id, `name` or `name@number`), or on all."""
    subject = app.platform.models.version(model_version).id if model_version else None
    return app.platform.gates.list(subject, limit=limit, before=before)


@get("/v1/gates/verdicts/{identifier:str}")
def verdict(identifier: FromPath[str], app: App) -> Verdict:
    """One verdict."""
    return app.platform.gates.verdict(identifier)


@get("/v1/gates/evidence/{identifier:str}")
def evidence(identifier: FromPath[str], app: App) -> Evidence:
    """What one check measured."""
    return app.platform.gates.evidence(identifier)


ROUTES = (environments, environment, judge, verdicts, verdict, evidence)
