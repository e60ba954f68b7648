"""Bodies: read up to a limit, and decoded strictly into the record that a route asks for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import HTTPException, InternalServerException
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from headway.errors import Invalid, TooLarge
from headway.kernel.access import Actor
from headway.kernel.naming import nearest
from headway.kernel.records import UNREADABLE


class ApiRequest(Request[Actor, Any, State]):
    """A request whose JSON is decoded by the route's own type: no coercion, no unknown field."""

    async def json(self) -> Any:
        field = self.route_handler.parsed_data_field
        return decoded(await self.body(), field.annotation if field else Any)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in super().stream():
                yield chunk
        except InternalServerException as error:
            raise Invalid("the connection ended before the request was whole; send it again") from error
        except HTTPException as error:
            if error.status_code != HTTP_413_REQUEST_ENTITY_TOO_LARGE:
                raise
            limit = self.route_handler.resolve_request_max_body_size()
            raise TooLarge(
                f"the body is larger than the {limit} bytes that are taken here; send it in parts"
            ) from error


def decoded(data: bytes, kind: Any) -> Any:
    """`data` as `kind`; raises `Invalid` naming what is wrong, and for an unknown field the nearest one."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise explained(error, kind) from error


def explained(error: Exception, kind: Any) -> Invalid:
    """Why a body could not be decoded as `kind`."""
    if isinstance(error, RecursionError):
        return Invalid("the JSON is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Invalid(f"the body is not UTF-8: {error.reason} at byte {error.start}")
    if isinstance(error, msgspec.ValidationError):
        return Invalid(_explained(str(error), kind))
    return Invalid(f"the body is no JSON: {error}")


def _explained(message: str, kind: Any) -> str:
    if "unknown field" not in message:
        return message
    _, components = msgspec.json.schema_components([kind])
    fields = {name for component in components.values() for name in component.get("properties", ())}
    return message + nearest(message.split("`")[1], fields)
