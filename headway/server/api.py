"""The native API as one ASGI application: counted, guarded, then routed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from litestar import Litestar, Router
from litestar.datastructures import MutableScopeHeaders
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, BeforeMessageSendHookHandler, ControllerRouterHandler, Message, Scope

from headway.kernel.access import Actor
from headway.server import errors
from headway.server.app import Application
from headway.server.auth import Guard, actor_of
from headway.server.body import ApiRequest
from headway.server.hot import HotPath, Reading
from headway.server.links import Links
from headway.server.metrics import Metered
from headway.server.mlflow.front import Front
from headway.server.openapi import routes_of
from headway.server.patient import Patient
from headway.server.quick import Quick
from headway.server.routes import (
    blobs,
    changes,
    datasets,
    deployments,
    feature_views,
    gates,
    imports,
    ledger,
    metrics,
    models,
    monitors,
    pipelines,
    predictions,
    project,
    releases,
    retention,
    rollouts,
    runs,
    schema,
    status,
    tokens,
    triggers,
    webhooks,
)
from headway.server.routing import refuse_unknown_query

_MODULES = (
    status, tokens, project, datasets, feature_views, runs, metrics, pipelines, models, gates, releases, deployments,
    rollouts, predictions, monitors, changes, triggers, webhooks, ledger, retention, imports, schema,
)  # fmt: skip


def threads() -> ThreadPoolExecutor:
    """Where handlers run: set as the default of the event loop, whose own is six threads on a machine of two cores,
    and those could all be waiting for the disk."""
    return ThreadPoolExecutor(max_workers=32, thread_name_prefix="headway-route")


class Ways(NamedTuple):
    """The whole application, ready for a server or for a transport in process; and the short way to some of it."""

    asgi: ASGIApp
    quick: Quick


def ways(application: Application) -> Ways:
    links, reading = Links(application.clock), Reading(application)
    patient = Patient(Front(routed(application), application, links), application.settings.most_query_s)
    hot = HotPath(patient, application, reading)
    guard = Guard(hot, application.platform.access, application.settings, links)
    return Ways(Metered(guard, application.counters), Quick(application, guard, reading))


def asgi(application: Application) -> ASGIApp:
    return ways(application).asgi


def routed(application: Application) -> Litestar:
    """The routes without their guard."""
    settings = application.settings

    def by(request: ApiRequest) -> Actor:
        return actor_of(request.scope)

    def app() -> Application:
        return application

    handlers: list[ControllerRouterHandler] = [route for module in _MODULES for route in module.ROUTES]
    handlers.append(Router("/", route_handlers=blobs.ROUTES, request_max_body_size=settings.most_blob_bytes))
    handlers.append(Router("/", route_handlers=[predictions.ingest], request_max_body_size=settings.most_segment_bytes))
    paths: list[str] = []
    methods: dict[str, str] = {}
    litestar = Litestar(
        handlers,
        dependencies={"app": Provide(app, sync_to_thread=False), "by": Provide(by, sync_to_thread=False)},
        guards=[refuse_unknown_query],
        request_class=ApiRequest,
        request_max_body_size=settings.most_json_bytes,
        exception_handlers=errors.handlers(paths),
        before_send=[_allowing(methods)],
        response_headers={"x-content-type-options": "nosniff"},
        openapi_config=None,
        logging_config=None,
    )
    paths += dict(routes_of(litestar))
    methods |= {route.path_format: ", ".join(sorted(route.methods)) for route in _http_routes(litestar)}
    return litestar


def _http_routes(litestar: Litestar) -> list[HTTPRoute]:
    return [route for route in litestar.routes if isinstance(route, HTTPRoute)]


def _allowing(methods: dict[str, str]) -> BeforeMessageSendHookHandler:
    """Lets the answer to OPTIONS name the methods of all handlers of a path: the framework makes it for the first one,
    and a handler that is registered later is not in it."""

    async def allow(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start" and scope.get("method") == "OPTIONS":
            MutableScopeHeaders.from_message(message)["allow"] = methods.get(scope["path_template"], "OPTIONS")

    return allow
