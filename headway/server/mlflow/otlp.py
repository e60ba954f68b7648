"""Spans as OpenTelemetry sends them (OTLP/HTTP, opentelemetry-proto 1.7), in protocol buffers or JSON."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import msgspec

from headway.errors import Invalid
from headway.lifecycle.runs.traces import Span
from headway.server.body import decoded
from headway.server.mlflow.protobuf import Member, Message, Scalar, from_json, read

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_PREVIEW = 1000
"""Characters of the root's inputs and outputs that a trace shows."""
_TAG = "mlflow.traceTag."
_OWN = {
    "session.id": "mlflow.trace.session", "gen_ai.conversation.id": "mlflow.trace.session",
    "user.id": "mlflow.trace.user",
}  # fmt: skip
_STATES = {1: "OK", 2: "ERROR"}
_NOTHING = b"\0"


def _message(**members: tuple[int, Scalar | Message]) -> Message:
    """Members by name; a name that ends with an underscore has many values."""
    return Message(
        {number: Member(name.removesuffix("_"), kind, name.endswith("_")) for name, (number, kind) in members.items()}
    )


_VALUE = Message()
_ARRAY = _message(values_=(1, _VALUE))
_PAIR = _message(key=(1, Scalar.TEXT), value=(2, _VALUE))
_PAIRS = _message(values_=(1, _PAIR))
_CHOICES: dict[str, Scalar | Message] = {
    "string": Scalar.TEXT, "bool": Scalar.BOOL, "int": Scalar.INT64, "double": Scalar.DOUBLE,
    "array": _ARRAY, "kvlist": _PAIRS, "bytes": Scalar.BYTES,
}  # fmt: skip
_VALUE.members |= {
    number: Member(f"{name}_value", kind, choice="value") for number, (name, kind) in enumerate(_CHOICES.items(), 1)
}
_EVENT = _message(
    time_unix_nano=(1, Scalar.FIXED64), name=(2, Scalar.TEXT), attributes_=(3, _PAIR),
    dropped_attributes_count=(4, Scalar.UINT32),
)  # fmt: skip
_LINK = _message(
    trace_id=(1, Scalar.IDENTIFIER), span_id=(2, Scalar.IDENTIFIER), trace_state=(3, Scalar.TEXT),
    attributes_=(4, _PAIR), dropped_attributes_count=(5, Scalar.UINT32), flags=(6, Scalar.FIXED32),
)  # fmt: skip
_STATUS = _message(message=(2, Scalar.TEXT), code=(3, Scalar.ENUM))
_SPAN = _message(
    trace_id=(1, Scalar.IDENTIFIER), span_id=(2, Scalar.IDENTIFIER), trace_state=(3, Scalar.TEXT),
    parent_span_id=(4, Scalar.IDENTIFIER), flags=(16, Scalar.FIXED32), name=(5, Scalar.TEXT), kind=(6, Scalar.ENUM),
    start_time_unix_nano=(7, Scalar.FIXED64), end_time_unix_nano=(8, Scalar.FIXED64), attributes_=(9, _PAIR),
    dropped_attributes_count=(10, Scalar.UINT32), events_=(11, _EVENT), dropped_events_count=(12, Scalar.UINT32),
    links_=(13, _LINK), dropped_links_count=(14, Scalar.UINT32), status=(15, _STATUS),
)  # fmt: skip
_SCOPE = _message(name=(1, Scalar.TEXT), version=(2, Scalar.TEXT), attributes_=(3, _PAIR))
_SCOPED = _message(scope=(1, _SCOPE), spans_=(2, _SPAN), schema_url=(3, Scalar.TEXT))
_RESOURCE = _message(attributes_=(1, _PAIR), dropped_attributes_count=(2, Scalar.UINT32))
_RESOURCE_SPANS = _message(resource=(1, _RESOURCE), scope_spans_=(2, _SCOPED), schema_url=(3, Scalar.TEXT))
EXPORT = _message(resource_spans_=(1, _RESOURCE_SPANS))
"""ExportTraceServiceRequest."""


def spans_of(body: bytes, content_type: str, encoding: str, most_bytes: int) -> list[Span]:
    """The spans of an export request; raises `Invalid` for one that cannot be read, and then for all of it."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in (PROTOBUF, JSON):
        raise Invalid(f"spans come as {PROTOBUF} or {JSON}, not as {content_type[:100]!r}")
    data = inflated(body, encoding, most_bytes)
    told = read(data, EXPORT) if media_type == PROTOBUF else from_json(decoded(data, Any), EXPORT)
    return [
        span_of(span)
        for resource in told.get("resource_spans", ())
        for scoped in resource.get("scope_spans", ())
        for span in scoped.get("spans", ())
    ]


def inflated(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The body without its compression, gzip or deflate; raises `Invalid` for more than `most_bytes`."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Invalid(f"a body is compressed by gzip or deflate, not by {encoding[:60]!r}")
    # zlib reads both by their headers with 32 added to the bits of the window
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        data = inflater.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise Invalid(f"the body is no whole {encoding}") from error
    if len(data) > most_bytes:
        raise Invalid(f"the body is larger than the {most_bytes} bytes that are taken here; send fewer spans at once")
    if not inflater.eof:
        raise Invalid(f"the body is no whole {encoding}")
    return data


def span_of(told: dict[str, Any]) -> Span:
    """A span of the protocol with what a trace needs to know of it; raises `Invalid` without its ids."""
    trace, own = _identifier(told, "trace_id", 16), _identifier(told, "span_id", 8)
    parent = _identifier(told, "parent_span_id", 8) if told.get("parent_span_id") else ""
    started, ended = told.get("start_time_unix_nano", 0), told.get("end_time_unix_nano", 0)
    if max(started, ended) >= 1 << 63:
        raise Invalid("a span is at a time that no clock has: its nanoseconds do not fit in 63 bits")
    attributes = attributes_of(told)
    metadata = {name: text(attributes[key]) for key, name in reversed(_OWN.items()) if attributes.get(key)}
    return Span(
        request=f"tr-{trace}", id=own, parent=parent, name=told.get("name", ""),
        kind=text(attributes.get("mlflow.spanType", "UNKNOWN")), started_ns=started, ended_ns=ended,
        state=_STATES.get(told.get("status", {}).get("code", 0), "UNSET"), metadata=metadata,
        tags={
            key.removeprefix(_TAG): text(value)[:8000] for key, value in attributes.items()
            if key.startswith(_TAG) and len(key) > len(_TAG)
        },
        usage=_usage(attributes.get("mlflow.chat.tokenUsage")),
        asked=_preview(attributes.get("mlflow.spanInputs")), answered=_preview(attributes.get("mlflow.spanOutputs")),
        told=told,
    )  # fmt: skip


def attributes_of(told: dict[str, Any]) -> dict[str, Any]:
    """Attributes by key, as plain values."""
    return {pair.get("key", ""): plain(pair.get("value", {})) for pair in told.get("attributes", ())}


def plain(value: dict[str, Any]) -> Any:
    """An AnyValue as JSON has it; None for one that is not set."""
    for kind, given in value.items():
        if kind == "array_value":
            return [plain(item) for item in given.get("values", ())]
        if kind == "kvlist_value":
            return {pair.get("key", ""): plain(pair.get("value", {})) for pair in given.get("values", ())}
        return given
    return None


def text(value: Any) -> str:
    """An attribute as a text: clients write one as it is, or as JSON."""
    value = _unwrapped(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _unwrapped(value: Any) -> Any:
    try:
        return msgspec.json.decode(value) if isinstance(value, str) and value[:1] in ('"', "{", "[") else value
    except msgspec.DecodeError:
        return value


def _preview(value: Any) -> str:
    if value is None:
        return ""
    shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return shown if len(shown) <= _PREVIEW else shown[: _PREVIEW - 3] + "..."


def _usage(value: Any) -> dict[str, int]:
    found = _unwrapped(value)
    if not isinstance(found, dict):
        return {}
    return {key: count for key, count in found.items() if type(count) is int and 0 <= count < 1 << 53}


def _identifier(told: dict[str, Any], name: str, size: int) -> str:
    found = base64.b64decode(told.get(name, ""))
    if len(found) != size or found.strip(_NOTHING) == b"":
        raise Invalid(f"a span needs a {name} of {size} bytes that are not all 0")
    return found.hex()
