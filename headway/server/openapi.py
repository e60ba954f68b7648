"""The OpenAPI 3.1 document, drawn from the routes and the records they take and give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from headway.kernel.records import Value
from headway.kernel.version import VERSION
from headway.server.auth import PUBLIC, SIGNED
from headway.server.errors import STATUSES
from headway.server.routing import query_fields

JSON = "application/json"
Schema = dict[str, Any]
_REFERENCES = "#/components/schemas/{name}"


class ErrorBody(Value):
    """`code` is stable and for programs, `message` is for people and says what to do next."""

    code: str
    message: str
    details: dict[str, Any] = {}


class ErrorAnswer(Value):
    error: ErrorBody


def routes_of(litestar: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    """Every path, with its parameters in braces, and each of its handlers."""
    for route in litestar.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if "OPTIONS" not in handler.http_methods:  # the framework's own
                    yield route.path_format, handler


def document(litestar: Litestar) -> Schema:
    """The document; the same for as long as the routes are."""
    handlers = list(routes_of(litestar))
    kinds = list(dict.fromkeys(kind for _, handler in handlers for kind in _kinds(handler)))
    schemas, components = msgspec.json.schema_components([*kinds, ErrorAnswer], ref_template=_REFERENCES)
    known = dict(zip(map(repr, kinds), schemas, strict=False))
    paths: dict[str, Schema] = {}
    for path, handler in handlers:
        for method in handler.http_methods:
            paths.setdefault(path, {})[method.lower()] = _operation(path, handler, known)
    described = {
        "openapi": "3.1.0",
        "info": {"title": "Headway", "version": VERSION, "description": "From data to production, and healthy there."},
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {str(status): _error(kind.__doc__ or kind.__name__) for status, kind in STATUSES.items()}
            | {"500": _error("A fault of the server; its log says more.")},
            "schemas": dict(sorted(components.items())),
        },
    }
    return _with_short_names(described)


def _operation(path: str, handler: HTTPRouteHandler, known: dict[str, Schema]) -> Schema:
    function = function_of(handler)
    operation: Schema = {
        "operationId": f"{function.__module__.rpartition('.')[2]}_{function.__name__}",
        "tags": [path.split("/")[2] if path.startswith("/v1/") else "server"],
        "summary": (function.__doc__ or "").strip(),
        "parameters": list(_parameters(path, handler, known)),
        "responses": {str(handler.status_code): _answer(handler, known), **_errors(path, handler)},
    }
    if path in PUBLIC or SIGNED.fullmatch(path):
        operation["security"] = []
    body = _body(handler, known)
    return operation | ({"requestBody": {"required": True, "content": body}} if body else {})


def _parameters(path: str, handler: HTTPRouteHandler, known: dict[str, Schema]) -> Iterator[Schema]:
    for part in path.split("/"):
        if part.startswith("{"):
            yield {"name": part.strip("{}"), "in": "path", "required": True, "schema": {"type": "string"}}
    for name, field in query_fields(handler).items():
        schema = known[repr(field.raw)]
        if field.has_default:
            schema = {**schema, "default": field.default}
        yield {"name": name, "in": "query", "required": not field.has_default, "schema": schema}


def _body(handler: HTTPRouteHandler, known: dict[str, Schema]) -> Schema | None:
    field = handler.parsed_data_field
    if field is not None:
        return {JSON: {"schema": known[repr(field.raw)]}}
    media_type = handler.opt.get("body")
    return {media_type: {"schema": {"type": "string"}}} if media_type else None


def _answer(handler: HTTPRouteHandler, known: dict[str, Schema]) -> Schema:
    kind = handler.parsed_return_field.raw
    if kind is None or kind is type(None):
        return {"description": "Yes"}
    media_type = str(getattr(handler.media_type, "value", handler.media_type)).partition(";")[0]
    schema = known.get(repr(kind), {}) if media_type == JSON else {"type": "string"}
    return {"description": "Done", "content": {media_type: {"schema": schema}}}


def _errors(path: str, handler: HTTPRouteHandler) -> Schema:
    public = path in PUBLIC or SIGNED.fullmatch(path)
    statuses = {"400", "403", "500"} if public else {"400", "401", "403", "404", "500", "503"}
    if handler.http_methods & {"POST", "PUT", "DELETE"}:
        statuses |= {"409", "413", "422"}
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _error(description: str) -> Schema:
    schema = {"$ref": _REFERENCES.format(name="ErrorAnswer")}
    return {"description": " ".join(description.split()), "content": {JSON: {"schema": schema}}}


def _kinds(handler: HTTPRouteHandler) -> Iterator[Any]:
    fields: list[FieldDefinition] = [*query_fields(handler).values(), handler.parsed_return_field]
    if handler.parsed_data_field is not None:
        fields.append(handler.parsed_data_field)
    for field in fields:
        if field.raw not in (bytes, None):
            yield field.raw


def _with_short_names(described: Schema) -> Schema:
    """Two stages have a command of the same name; msgspec then puts the module before it."""
    text = msgspec.json.encode(described).decode()
    return msgspec.json.decode(text.replace("headway.lifecycle.", "").replace(".records.", "."), type=Schema)


def function_of(handler: HTTPRouteHandler) -> Any:
    """The function that was written, below what makes it run in a thread."""
    function: Any = handler.fn
    while hasattr(function, "func"):
        function = function.func
    return function
