"""The two calls that a training loop makes all the time, without the framework: it would cost more than the work.

They are declared in `routes/metrics.py`, where the framework serves them too (with a query string it does), so that
the schema shows them. What is particular here is only the way through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from litestar.types import ASGIApp, Receive, Send

from headway.errors import Invalid, TooLarge
from headway.kernel.access import Actor
from headway.kernel.records import UNREADABLE
from headway.lifecycle.runs.metrics import Logged
from headway.server.app import Application
from headway.server.auth import actor_of
from headway.server.body import explained
from headway.server.errors import rendered
from headway.server.routes.metrics import AddPoints, LogToRun, logged, logged_points

TEMPLATES = {"log": "/v1/runs/{identifier}/log", "points": "/v1/runs/{identifier}/points"}


class Reading:
    """Reads the bodies of the two calls."""

    failed = staticmethod(rendered)

    def __init__(self, application: Application) -> None:
        self._application = application
        self._kinds: dict[str, type[LogToRun | AddPoints]] = {"log": LogToRun, "points": AddPoints}
        self._decoders = {what: msgspec.json.Decoder(kind) for what, kind in self._kinds.items()}

    def read(self, run: str, what: str, body: bytes, by: Actor) -> tuple[Logged | Callable[[], bytes], bytes]:
        """What is to be written, and the answer once it is; raises `Invalid` for a body that cannot be read."""
        try:
            data = self._decoders[what].decode(body)
        except UNREADABLE as error:
            raise explained(error, self._kinds[what]) from error
        if isinstance(data, AddPoints):
            points = logged_points(run, data, by)
        elif data.params or data.tags:
            batch, runs = data.batch(), self._application.platform.runs
            answer = b'{"points":%d}' % len(batch.metrics)

            def log() -> bytes:
                runs.log(run, batch, by=by)
                return answer

            return log, answer
        else:
            points = logged(run, data, by)
        return points, b'{"points":%d}' % sum(map(len, points.curves.values()))


class HotPath:
    def __init__(self, app: ASGIApp, application: Application, reading: Reading) -> None:
        self._app, self._application, self._reading = app, application, reading

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        parts = scope["path"].split("/")
        hot = len(parts) == 5 and parts[4] in TEMPLATES and scope["path"].startswith("/v1/runs/")
        if not hot or scope["method"] != "POST" or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        scope["path_template"] = TEMPLATES[parts[4]]
        try:
            work, body = self._reading.read(parts[3], parts[4], await self._body(receive), actor_of(scope))
            ingest = self._application.ingest
            await (ingest.add(work) if isinstance(work, Logged) else ingest.write(work))
            status, headers = 200, dict[str, str]()
        except Exception as error:
            status, body, headers = rendered(error)
        pairs = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        pairs += [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body, "more_body": False})

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
