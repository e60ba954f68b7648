"""How MLflow's REST protocol writes things: asks, errors, times, numbers and pages."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headway.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    HeadwayError,
    Invalid,
    NotFound,
    NotSignedIn,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from headway.kernel.access import Actor
from headway.kernel.blobs import BlobStore
from headway.kernel.clock import Clock
from headway.kernel.paging import Page
from headway.kernel.records import RecordType
from headway.lifecycle.platform import Platform
from headway.lifecycle.runs.places import By, paged
from headway.server.errors import clipped

_LOG = logging.getLogger("headway.server")
_CODES: tuple[tuple[type[HeadwayError], int, str], ...] = (
    (QuotaExceeded, 413, "RESOURCE_EXHAUSTED"),  # not 429, on which its clients try again for minutes
    (Invalid, 400, "INVALID_PARAMETER_VALUE"),
    (AlreadyExists, 400, "RESOURCE_ALREADY_EXISTS"),
    (Conflict, 409, "RESOURCE_CONFLICT"),
    (NotFound, 404, "RESOURCE_DOES_NOT_EXIST"),
    (Refused, 400, "BAD_REQUEST"),
    (NotSignedIn, 401, "UNAUTHENTICATED"),
    (Forbidden, 403, "PERMISSION_DENIED"),
    (Unavailable, 503, "TEMPORARILY_UNAVAILABLE"),
)
_PATHS = re.compile(
    r"/(?:ajax-)?api/[23]\.0/?mlflow(?:-artifacts)?/|/(?:ajax-api/2\.0/mlflow/)?get-(?:trace-)?artifact$"
    r"|/model-versions/get-artifact$|/v1/traces$|/graphql$"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
PROTOCOL = "3.17.2"
"""The version of MLflow whose clients these calls are held against."""
Answer = dict[str, Any]
Item = TypeVar("Item")


class Ask(msgspec.Struct, metaclass=RecordType, frozen=True):
    """What a call carries, in its body or its query: fields that are not known here are left alone, as MLflow does."""


class KeyValue(Ask):
    key: str
    value: str = ""


class Nothing(Exception):
    """There is no such call."""


@dataclass(frozen=True)
class Desk:
    """What a call is answered with."""

    platform: Platform
    blobs: BlobStore
    uploads: Path
    by: Actor
    clock: Clock


def speaks(path: str) -> bool:
    """Whether a path belongs to MLflow's protocol."""
    return _PATHS.match(path) is not None


def failure(error: Exception) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of an error; what nobody foresaw is logged, and never shown."""
    if isinstance(error, Nothing):
        return 404, _failed("ENDPOINT_NOT_FOUND", str(error)), {}
    for kind, status, code in _CODES:
        if isinstance(error, kind):
            headers = {"www-authenticate": 'Basic realm="headway"'} if status == 401 else {}
            return status, _failed(code, str(error)), headers
    _LOG.error("unexpected %s", type(error).__name__, exc_info=error)
    return 500, _failed("INTERNAL_ERROR", "something went wrong inside the server; its log has the details"), {}


def _failed(code: str, message: str) -> bytes:
    return msgspec.json.encode({"error_code": code, "message": clipped(message).encode(errors="replace").decode()})


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 as a time; raises `Invalid` for one that no calendar has."""
    try:
        return _EPOCH + ms * _MILLISECOND
    except OverflowError as error:
        raise Invalid(f"{ms} is no time: it counts milliseconds since 1970") from error


def ms(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // _MILLISECOND


def timestamp(at: datetime) -> str:
    """A time as protocol buffers write it in JSON."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def present(**fields: Any) -> Answer:
    """The fields that are not None: absent is how this protocol writes nothing."""
    return {name: value for name, value in fields.items() if value is not None}


def checked_most(asked: int, most: int) -> int:
    if not 1 <= asked <= most:
        raise Invalid(f"max_results must be from 1 to {most}, not {asked}")
    return asked


def number_token(offset: int) -> str:
    return base64.b64encode(msgspec.json.encode({"offset": offset})).decode()


def offset_of(token: str) -> int:
    """Where the page of `token` begins; raises `Invalid` for a token that no page ended with."""
    if not token:
        return 0
    try:
        offset = msgspec.json.decode(base64.b64decode(token, validate=True), type=dict[str, int])["offset"]
    except (binascii.Error, ValueError, KeyError, msgspec.DecodeError) as error:
        raise Invalid("page_token is none that this server gave") from error
    if not 0 <= offset < 1 << 40:
        raise Invalid("page_token is none that this server gave")
    return offset


def page_of(items: Iterable[Item], keys: Sequence[By[Item]], ask: Any) -> Page[Item]:
    """The page of `items`, in the order of `keys`, that `ask` wants; `next` is the token of the next one."""
    question = msgspec.structs.replace(ask, page_token="", max_results=1)
    return paged(items, keys, question, limit=ask.max_results, after=ask.page_token)


def with_next(answer: Answer, token: str | None) -> Answer:
    return answer if token is None else {**answer, "next_page_token": token}


def tags_of(given: Iterable[KeyValue]) -> dict[str, str]:
    return {tag.key: tag.value for tag in given}
