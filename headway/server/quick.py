"""The short way in for the writes that runs make all the time: from the parsed request to the thread that writes.

A logged value is a few microseconds of work, and the layers above it (ASGI, guard, routing, a task for each request)
cost many times that. What is taken here is what needs none of them: a POST of a known path with a JSON body of known
length, a token that is remembered, and a body that is right. Everything else, and so every refusal that these layers
make, goes through them; the two ways share what reads the body, what writes, and what renders an error.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from headway.errors import HeadwayError
from headway.kernel.access import Actor
from headway.lifecycle.runs.metrics import Logged
from headway.server.app import Application
from headway.server.auth import Guard
from headway.server.hot import TEMPLATES, Reading
from headway.server.ingest import Outcome
from headway.server.mlflow.front import paths_of
from headway.server.mlflow.routing import Endpoint
from headway.server.mlflow.wire import Ask, Desk, failure

_MOST_BYTES = 1 << 20
"""Of a body that is held whole before anybody has looked at who sends it."""
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, HeadwayError)
Rendered = tuple[int, bytes, dict[str, str]]
Fields = Mapping[bytes, bytes]


class Call(NamedTuple):
    """What a request comes to."""

    route: str
    work: Logged | Callable[[], bytes]
    body: bytes
    """The answer to points once they are written; other work returns its own."""
    failed: Callable[[Exception], Rendered]


class _Known(NamedTuple):
    endpoint: Endpoint
    route: str
    read: Callable[[bytes], Ask]


class Quick:
    def __init__(self, application: Application, guard: Guard, reading: Reading) -> None:
        self._application, self._guard, self._reading = application, guard, reading
        self._most_bytes = min(_MOST_BYTES, application.settings.most_json_bytes)
        self._uploads = application.home.uploads
        self._known = {
            path.encode(): _Known(endpoint, route, msgspec.json.Decoder(endpoint.ask, strict=False).decode)
            for path, route, endpoint in paths_of(lambda each: each.brief or each.points is not None)
        }

    def takes(self, url: bytes, fields: Fields) -> bool:
        """Whether a request may be answered here, by its head: then its body may be held until it is whole."""
        if url not in self._known and self._native(url) is None:
            return False
        length = fields.get(b"content-length", b"")
        if not length.isdigit() or len(length) > len(str(_MOST_BYTES)) or int(length) > self._most_bytes:
            return False
        return b"expect" not in fields and b"origin" not in fields and b"transfer-encoding" not in fields

    def call(self, url: bytes, fields: Fields, body: bytes) -> Call | None:
        """None for a request that is to be answered the long way."""
        by = self._guard.at_once(fields)
        if by is None:
            return None
        try:
            known = self._known.get(url)
            return self._own(url, by, body) if known is None else self._mlflow(known, fields, by, body)
        except _UNREADABLE:
            return None

    def ask(self, call: Call, loop: AbstractEventLoop, answered: Callable[[Outcome], None]) -> None:
        """Let `answered` be called in `loop`, once what was written is durable."""
        self._application.ingest.submit(call.work, loop, answered)

    def count(self, route: str, status: int, seconds: float) -> None:
        self._application.counters.request("POST", route, status, seconds)

    def _mlflow(self, known: _Known, fields: Fields, by: Actor, body: bytes) -> Call | None:
        if fields.get(b"content-type", b"").partition(b";")[0] != b"application/json":
            return None
        endpoint, ask = known.endpoint, known.read(body)
        points = endpoint.points(ask) if endpoint.points is not None else None
        if points is not None:
            run: Any = ask
            return Call(known.route, Logged(run.run, points, by, late=True), b"{}", failure)
        if not endpoint.brief:
            return None
        application = self._application
        desk = Desk(application.platform, application.blobs, self._uploads, by, application.clock)
        return Call(known.route, partial(_answer, endpoint, ask, desk), b"", failure)

    def _own(self, url: bytes, by: Actor, body: bytes) -> Call | None:
        parts = self._native(url)
        if parts is None:
            return None
        run, what = parts
        return Call(TEMPLATES[what], *self._reading.read(run, what, body, by), self._reading.failed)

    @staticmethod
    def _native(url: bytes) -> tuple[str, str] | None:
        """The run and the verb of a path of our own API; None for any other, and for one that is escaped."""
        parts = url.split(b"/")
        if len(parts) != 5 or parts[1:3] != [b"v1", b"runs"] or not parts[3].replace(b"_", b"").isalnum():
            return None
        what = parts[4].decode("latin-1")
        return (parts[3].decode("latin-1"), what) if what in TEMPLATES else None


def _answer(endpoint: Endpoint, ask: Ask, desk: Desk) -> bytes:
    return msgspec.json.encode(endpoint.answer(ask, desk))
