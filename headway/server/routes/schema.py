"""The description of this API: for programs, and as a page for people."""

from __future__ import annotations

from typing import Any

from headway.server.body import ApiRequest
from headway.server.openapi import document
from headway.server.page import page
from headway.server.routing import get


@get("/schema", media_type="text/html")
def schema(request: ApiRequest) -> str:
    """This API, to be read."""
    return page(document(request.app))


@get("/schema/openapi.json")
def openapi(request: ApiRequest) -> dict[str, Any]:
    """This API as an OpenAPI 3.1 document."""
    return document(request.app)


ROUTES = (schema, openapi)
