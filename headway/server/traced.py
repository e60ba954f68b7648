"""A span for each request of the control plane."""

from __future__ import annotations

import time
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from headway.engines.telemetry import Telemetry

_SPANS = "/v1/traces"
"""Taking spans makes none: a server that is its own collector would never come to rest."""
_FAILED = 500


class Traced:
    """`app`, its requests told to `telemetry`: method, route and status, never a path or a query."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == _SPANS:
            await self._app(scope, receive, send)
            return
        began_ns, status = time.time_ns(), _FAILED

        async def heard(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, heard)
        finally:
            route = scope.get("path_template") or "none"
            facts = {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status}
            traceparent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
            error = f"status {status}" if status >= _FAILED else ""
            name, ended_ns = f"{scope['method']} {route}", time.time_ns()
            self._telemetry.record(name, began_ns, ended_ns, facts, error=error, traceparent=traceparent, serving=True)
