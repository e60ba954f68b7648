"""The two calls that a training loop makes all the time, without the framework: it would cost more than the work.

They are declared in `routes/metrics.py`, where the framework serves them too (with a query string it does), so that
the schema shows them. What is particular here is only the way through.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Send

from headway.errors import Invalid, TooLarge
from headway.server.app import Application
from headway.server.auth import actor_of
from headway.server.body import explained
from headway.server.errors import rendered
from headway.server.routes.metrics import AddPoints, LogToRun, logged, logged_points

_LOG, _POINTS = "/v1/runs/{identifier}/log", "/v1/runs/{identifier}/points"
_TEMPLATES = {"log": _LOG, "points": _POINTS}


class HotPath:
    def __init__(self, app: ASGIApp, application: Application) -> None:
        self._app, self._application = app, application
        self._kinds: dict[str, type[LogToRun | AddPoints]] = {"log": LogToRun, "points": AddPoints}
        self._decoders = {what: msgspec.json.Decoder(kind) for what, kind in self._kinds.items()}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        parts = scope["path"].split("/")
        hot = len(parts) == 5 and parts[4] in _TEMPLATES and scope["path"].startswith("/v1/runs/")
        if not hot or scope["method"] != "POST" or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        scope["path_template"] = _TEMPLATES[parts[4]]
        try:
            points = await self._write(parts[3], parts[4], await self._body(receive), scope)
            status, body, headers = 200, b'{"points":%d}' % points, dict[str, str]()
        except Exception as error:
            status, body, headers = rendered(error)
        pairs = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        pairs += [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _write(self, run: str, what: str, body: bytes, scope: Any) -> int:
        data, by, runs = self._decoded(what, body), actor_of(scope), self._application.platform.runs
        if isinstance(data, AddPoints):
            points = logged_points(run, data, by)
        elif data.params or data.tags:
            batch = data.batch()
            await self._application.ingest.write(lambda: runs.log(run, batch, by=by))
            return len(batch.metrics)
        else:
            points = logged(run, data, by)
        await self._application.ingest.add(points)
        return sum(map(len, points.curves.values()))

    def _decoded(self, what: str, body: bytes) -> LogToRun | AddPoints:
        try:
            return self._decoders[what].decode(body)
        except (RecursionError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            raise explained(error, self._kinds[what]) from error

    async def _body(self, receive: Receive) -> bytes:
        limit, parts, size = self._application.settings.most_json_bytes, list[Any](), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Invalid("the connection ended before the request was whole; send it again")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise TooLarge(f"the body is larger than the {limit} bytes that are taken here; send it in parts")
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)
