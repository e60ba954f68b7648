"""Every error as one JSON shape: `{"error": {"code", "message", "details"}}`, with the status of its branch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ExceptionHandlersMap

from headway.errors import (
    Conflict,
    Forbidden,
    HeadwayError,
    Invalid,
    NotFound,
    NotSignedIn,
    Refused,
    TooLarge,
    Unavailable,
)
from headway.kernel.naming import nearest
from headway.server.routing import query_fields

_LOG = logging.getLogger("headway.server")
_BRANCHES = {Invalid: 400, NotFound: 404, Conflict: 409, Refused: 422, Forbidden: 403, Unavailable: 503}
_LEAVES = {TooLarge: 413, NotSignedIn: 401}
STATUSES = {**{status: branch for branch, status in _BRANCHES.items()}, 401: NotSignedIn, 413: TooLarge}
_encode = msgspec.json.Encoder(enc_hook=str).encode
_LONGEST = 2000
_INTERNAL = "something went wrong inside the server; its log has the details"
_Connection = Request[Any, Any, Any]


def status_of(error: HeadwayError) -> int | None:
    """None for an error of no branch, which is a fault of the server."""
    branches = {**_LEAVES, **_BRANCHES}
    return next((branches[kind] for kind in type(error).__mro__ if kind in branches), None)


def rendered(error: Exception) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers; what nobody foresaw is logged with its traceback, which is never sent."""
    status = status_of(error) if isinstance(error, HeadwayError) else None
    if not isinstance(error, HeadwayError) or status is None:
        _LOG.error("unexpected %s", type(error).__name__, exc_info=error)
        return 500, body("internal", _INTERNAL, {}), {}
    headers = {"www-authenticate": 'Bearer realm="headway"'} if status == 401 else {}
    return status, body(error.code, clipped(str(error)), error.details), headers


def clipped(message: str) -> str:
    """A message repeats what it complains of, but not all of it, when that is long."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"


def body(code: str, message: str, details: Mapping[str, Any]) -> bytes:
    return bytes(_encode({"error": {"code": code, "message": message, "details": details}}))


def handlers(paths: list[str]) -> ExceptionHandlersMap:
    """Handlers for everything that a route or the framework raises; `paths` are those that there are."""

    def framework(request: _Connection, error: HTTPException) -> Response[bytes]:
        if error.status_code >= 500:
            return _response(*rendered(error))
        if isinstance(error, NotFoundException):
            return _response(*rendered(_nowhere(request.url.path, paths)))
        if isinstance(error, MethodNotAllowedException):
            message = f"{request.url.path} does not take {request.method}"
            return _response(405, body("invalid", message, {}), dict(error.headers or {}))
        return _response(*rendered(Invalid(_explained(error, request.route_handler))))

    def anything(_request: _Connection, error: Exception) -> Response[bytes]:
        return _response(*rendered(error))

    return {HTTPException: framework, Exception: anything}


def _response(status: int, content: bytes, headers: dict[str, str]) -> Response[bytes]:
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def _nowhere(path: str, paths: list[str]) -> NotFound:
    return NotFound(f"there is nothing at {path[:200]}{nearest(path[:200], paths)}; /schema shows what there is")


def _explained(error: HTTPException, handler: HTTPRouteHandler) -> str:
    """What the framework found wrong with the parameters of a request, by their names in the URL."""
    names = {field.name: name for name, field in query_fields(handler).items()}
    found = [each for each in error.extra if "key" in each] if isinstance(error.extra, list) else []
    if any(each["key"] == "data" for each in found):
        return "this route takes a JSON body, and there is none"
    wrong = [f"{names.get(each['key'], each['key'])}: {each['message']}" for each in found]
    return "; ".join(wrong) or error.detail
