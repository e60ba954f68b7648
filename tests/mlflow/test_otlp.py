"""Spans off the wire, held against the libraries of protocol buffers and OpenTelemetry themselves."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict, MessageToJson, ParseDict
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from headway.errors import Invalid
from headway.kernel.access import Role
from headway.server.mlflow.otlp import EXPORT, inflated
from headway.server.mlflow.protobuf import from_json, read
from tests.mlflow.test_protocol import call, new_experiment, new_run, refusal
from tests.server.world import World

PROTOBUF = {"content-type": "application/x-protobuf"}
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_UINT32, _UINT64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
_VALUES = st.recursive(
    st.builds(AnyValue)
    | st.builds(AnyValue, string_value=_TEXTS)
    | st.builds(AnyValue, bool_value=st.booleans())
    | st.builds(AnyValue, int_value=st.integers(-(1 << 63), (1 << 63) - 1))
    | st.builds(AnyValue, double_value=st.floats())
    | st.builds(AnyValue, bytes_value=st.binary(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: AnyValue(array_value={"values": items}))
        | st.lists(st.builds(KeyValue, key=_TEXTS, value=inner), max_size=3).map(
            lambda pairs: AnyValue(kvlist_value=KeyValueList(values=pairs))
        )
    ),
    max_leaves=6,
)
_PAIRS = st.lists(st.builds(KeyValue, key=_TEXTS, value=_VALUES), max_size=3)
_EVENTS = st.builds(Span.Event, time_unix_nano=_UINT64, name=_TEXTS, attributes=_PAIRS)
_LINKS = st.builds(Span.Link, trace_id=st.binary(max_size=16), span_id=st.binary(max_size=8), flags=_UINT32)
_SPANS = st.builds(
    Span,
    trace_id=st.binary(max_size=20), span_id=st.binary(max_size=9), parent_span_id=st.binary(max_size=8),
    trace_state=_TEXTS, flags=_UINT32, name=_TEXTS, kind=st.integers(-3, 9), start_time_unix_nano=_UINT64,
    end_time_unix_nano=_UINT64, attributes=_PAIRS, events=st.lists(_EVENTS, max_size=2),
    links=st.lists(_LINKS, max_size=2), dropped_links_count=_UINT32,
    status=st.builds(Status, message=_TEXTS, code=st.integers(-1, 4)),
)  # fmt: skip


def exported(spans: list[Span]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return request


def same(ours: dict[str, Any], theirs: ExportTraceServiceRequest) -> bool:
    return MessageToDict(ParseDict(ours, ExportTraceServiceRequest())) == MessageToDict(theirs)


@settings(max_examples=50, deadline=None)
@given(st.lists(_SPANS, max_size=3).map(exported))
def test_what_the_library_writes_is_read_as_it_reads_it(request: ExportTraceServiceRequest) -> None:
    assert same(read(request.SerializeToString(), EXPORT), request)


@settings(max_examples=50, deadline=None)
@given(st.lists(_SPANS, max_size=2).map(exported))
def test_json_says_the_same(request: ExportTraceServiceRequest) -> None:
    told = json.loads(MessageToJson(request, use_integers_for_enums=True))
    for resource in told.get("resourceSpans", []):
        for scoped in resource["scopeSpans"]:
            for span in scoped.get("spans", []):
                for each in (span, *span.get("links", [])):
                    for name in {"traceId", "spanId", "parentSpanId"} & each.keys():
                        each[name] = base64.b64decode(each[name]).hex()
    assert same(from_json(told, EXPORT), request)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(exported([draw(_SPANS)]).SerializeToString())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        if draw(st.booleans()):
            data[place] = draw(st.integers(0, 255))
        else:
            del data[place]
        if not data:
            break
    return bytes(data)


@settings(max_examples=100, deadline=None)
@given(_damaged() | st.binary(max_size=60))
@example(b"\x0a\x02\x0a\x80")
@example(b"\x0b\x0c")
@example(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
def test_damaged_bytes_are_refused_or_read_as_the_library_does(data: bytes) -> None:
    theirs = ExportTraceServiceRequest()
    try:
        theirs.ParseFromString(data)
    except DecodeError:
        with pytest.raises(Invalid):
            read(data, EXPORT)
    else:
        assert same(read(data, EXPORT), theirs)


def test_messages_too_deep_are_refused() -> None:
    def nested(depth: int) -> bytes:
        value = b""
        for _ in range(depth):
            array = b"\x0a" + _size(value) + value
            value = b"\x2a" + _size(array) + array
        for tag in (b"\x12", b"\x4a", b"\x12", b"\x12", b"\x0a"):
            value = tag + _size(value) + value
        return value

    read(nested(40), EXPORT)
    with pytest.raises(Invalid, match="deep"):
        read(nested(5000), EXPORT)


def _size(data: bytes) -> bytes:
    size, found = len(data), bytearray()
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size])


def test_a_small_body_that_unpacks_to_a_large_one_is_refused() -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(Invalid, match="larger"):
        inflated(bomb, "gzip", 100_000)
    for data in (bomb[:-9], b"no gzip", b""):
        with pytest.raises(Invalid):
            inflated(data, "gzip", 20_000_000)
    with pytest.raises(Invalid):
        inflated(b"", "br", 10)


def span(trace: int = 1, number: int = 1, **rest: Any) -> Span:
    ids = {"trace_id": trace.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}
    return Span(**{**ids, "name": "s", "start_time_unix_nano": 10**18, "end_time_unix_nano": 10**18 + 5, **rest})


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_an_export_is_a_trace(author: httpx2.Client, encoding: str) -> None:
    experiment, trace = new_experiment(author), {"identity": 101, "gzip": 102, "deflate": 103}[encoding]
    run = new_run(author, experiment)
    packed = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    headers = {**PROTOBUF, "x-mlflow-experiment-id": experiment, "x-mlflow-run-id": run, "content-encoding": encoding}
    child = span(trace, 2, parent_span_id=(1).to_bytes(8, "big"))
    for sent, state in ((child, "IN_PROGRESS"), (span(trace), "OK"), (span(trace), "OK")):
        body = packed(exported([sent]).SerializeToString())
        answer = author.post("/v1/traces", content=body, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "application/x-protobuf"
        found = call(author, "GET", "traces/get", trace_id=f"tr-{trace:032x}")["trace"]
        assert found["trace_info"]["state"] == state
    assert found["trace_info"]["trace_metadata"]["mlflow.sourceRun"] == run
    assert [base64.b64decode(each["span_id"])[-1] for each in found["spans"]] == [1, 2]


def test_a_span_after_the_client_told_of_the_whole_changes_no_word_of_it(author: httpx2.Client) -> None:
    experiment, request = new_experiment(author), f"tr-{104:032x}"
    told = {
        "trace_id": request, "state": "ERROR", "request_time": "2026-01-01T00:00:00Z",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
    }  # fmt: skip
    call(author, "POST", "traces", {"trace": {"trace_info": told}})
    headers = {**PROTOBUF, "x-mlflow-experiment-id": experiment}
    author.post("/v1/traces", content=exported([span(104)]).SerializeToString(), headers=headers).raise_for_status()
    found = call(author, "GET", "traces/get", trace_id=request)["trace"]
    assert (found["trace_info"]["state"], found["trace_info"]["request_time"]) == ("ERROR", "2026-01-01T00:00:00Z")
    assert found["trace_info"]["tags"]["mlflow.trace.spansLocation"] == "TRACKING_STORE"
    assert len(found["spans"]) == 1


BAD_EXPORTS = [
    (exported([span()]).SerializeToString(), {}, 400, "INVALID_PARAMETER_VALUE"),
    (exported([span()]).SerializeToString(), {"x-mlflow-experiment-id": "ex_none"}, 404, "RESOURCE_DOES_NOT_EXIST"),
    (b"\xff", {"x-mlflow-experiment-id": "0"}, 400, "INVALID_PARAMETER_VALUE"),
    (b"{", {"x-mlflow-experiment-id": "0", "content-type": "application/json"}, 400, "INVALID_PARAMETER_VALUE"),
    (b"x", {"x-mlflow-experiment-id": "0", "content-type": "text/plain"}, 400, "INVALID_PARAMETER_VALUE"),
    (b"x" * 500_000, {"x-mlflow-experiment-id": "0"}, 400, "INVALID_PARAMETER_VALUE"),
    (b"x", {"x-mlflow-experiment-id": "0", "content-encoding": "gzip"}, 400, "INVALID_PARAMETER_VALUE"),
]
BAD_SPANS = [
    {"trace_id": b""}, {"trace_id": b"\0" * 16}, {"trace_id": b"1" * 15}, {"span_id": b""}, {"parent_span_id": b"1"},
    {"start_time_unix_nano": 1 << 63},
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_EXPORTS)
def test_a_bad_export_is_refused(
    author: httpx2.Client, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    assert refusal(author.post("/v1/traces", content=body, headers={**PROTOBUF, **headers})) == (status, code)


@pytest.mark.parametrize("wrong", BAD_SPANS)
def test_one_bad_span_refuses_all(author: httpx2.Client, wrong: dict[str, Any]) -> None:
    body = exported([span(105), span(105, 2, **wrong)]).SerializeToString()
    answer = author.post("/v1/traces", content=body, headers={**PROTOBUF, "x-mlflow-experiment-id": "0"})
    assert refusal(answer) == (400, "INVALID_PARAMETER_VALUE")
    assert author.get(f"/api/3.0/mlflow/traces/tr-{105:032x}").status_code == 404


def test_who_may_export(world: World) -> None:
    body = exported([span(106)]).SerializeToString()
    headers = {**PROTOBUF, "x-mlflow-experiment-id": "0"}
    with world.client(None) as nobody, world.client(Role.READER) as reader:
        assert refusal(nobody.post("/v1/traces", content=body, headers=headers)) == (401, "UNAUTHENTICATED")
        assert refusal(reader.post("/v1/traces", content=body, headers=headers)) == (403, "PERMISSION_DENIED")
        assert refusal(reader.get("/v1/traces")) == (404, "ENDPOINT_NOT_FOUND")
