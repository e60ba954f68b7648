"""Requests of a step to the platform, through the run that it belongs to: a worker has no token and no address of its
own, and works with a server as without."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import httpx2

from headway.client.client import Client
from headway.engines.execution.wire import Answer, Ask, Line
from headway.errors import HeadwayError, Unreachable
from headway.kernel.records import encode

_KEPT = frozenset({"content-type", "accept"})


class RelayTransport(httpx2.BaseTransport):
    """A worker's side: any thread may ask, one after the other."""

    def __init__(self, stream: socket.socket) -> None:
        self._line, self._asking = Line(stream), threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = {name: value for name, value in request.headers.items() if name in _KEPT}
        path = request.url.raw_path.decode("ascii")
        ask = Ask(request.method, path, headers, request.read())
        with self._asking:
            try:
                self._line.send(ask)
                answer = self._line.receive()
            except OSError as error:
                raise httpx2.ReadError(f"the run is gone: {error}") from error
        if not isinstance(answer, Answer):
            raise httpx2.ReadError("the run is gone")
        return httpx2.Response(answer.status, headers=answer.headers, content=answer.body)


def relayed(client: Client) -> Callable[[Ask], Answer]:
    """The run's side: hands a request to where `client` leads."""

    def serve(ask: Ask) -> Answer:
        try:
            status, headers, body = client.forward(ask.method, ask.path, ask.headers, ask.body)
        except HeadwayError as error:
            kind = error if isinstance(error, Unreachable) else Unreachable(str(error))
            said = {"error": {"code": kind.code, "message": str(kind), "details": {}}}
            return Answer(503, {"content-type": "application/json"}, encode(said))
        return Answer(status, headers, body)

    return serve
