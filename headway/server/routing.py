"""How a route is written: the verbs, what is handed to it, and which parameters it takes.

A handler translates and does nothing else. It runs in a thread, because the services are synchronous.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import litestar
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import QueryParameter, SkipValidation
from litestar.typing import FieldDefinition

from headway.errors import Invalid
from headway.kernel.access import Actor
from headway.kernel.naming import nearest
from headway.server.app import Application

get = partial(litestar.get, sync_to_thread=True)
post = partial(litestar.post, sync_to_thread=True)
put = partial(litestar.put, sync_to_thread=True)
delete = partial(litestar.delete, sync_to_thread=True)
head = partial(litestar.head, sync_to_thread=True)

App = NamedDependency[SkipValidation[Application]]
By = NamedDependency[SkipValidation[Actor]]
"""Who asks."""

Time = TypeVar("Time", datetime, datetime | None)

TABLE = "application/vnd.apache.parquet"
BYTES = "application/octet-stream"
TEXT = "text/plain"


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]", re.ASCII)


def query_fields(handler: HTTPRouteHandler) -> dict[str, FieldDefinition]:
    """The query parameters of a route by their name in the URL."""
    found = {}
    for field in handler.parsed_fn_signature.parameters.values():
        if isinstance(field.kwarg_definition, QueryParameter):
            found[field.kwarg_definition.name or field.name] = field
    return found


def refuse_unknown_query(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A misspelt filter would otherwise answer with everything, and one of two that say different things be dropped."""
    if isinstance(handler, HTTPRouteHandler):
        known = query_fields(handler)
        for name in connection.query_params:
            if name not in known:
                raise Invalid(f"unknown query parameter {name[:100]!r}{nearest(name[:100], known)}")
            if len(connection.query_params.getall(name)) > 1 and not known[name].is_non_string_sequence:
                raise Invalid(f"query parameter {name!r} is given more than once")
            if known[name].has_inner_subclass_of(datetime) or known[name].is_subclass_of(datetime):
                _check_written(name, connection.query_params[name])


def _check_written(name: str, text: str) -> None:
    """The framework would also take a number, of seconds since 1970, which the schema does not tell."""
    if not _DATE.match(text):
        raise Invalid(f"{name}: {text[:60]!r} is no time; write 2026-01-31T12:00:00Z")


def aware(moment: Time) -> Time:
    """`moment`, if it has a time zone: the framework does not look at that of a query parameter."""
    if moment is not None and moment.tzinfo is None:
        raise Invalid(f"{moment.isoformat()} has no time zone; write {moment.isoformat()}Z for UTC")
    return moment
