"""Spans as a collector gets them: a small one on loopback reads what the exporters really send."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headway.engines.telemetry import open_telemetry
from headway.lifecycle.runs.records import StepRun, StepState
from headway.server.api import asgi
from headway.server.app import compose
from headway.server.settings import Settings
from headway.server.traced import Traced
from headway.serving.capture.exchange import Exchange
from headway.serving.capture.queue import Capture
from headway.serving.capture.shipping import Shipper
from headway.serving.counters import ServerCounters
from headway.serving.inference import Inference
from headway.serving.messages import Answer, Head
from tests.serving.conftest import StartServer
from tests.serving.processes import request
from tests.serving.test_tensors import TABLE

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEPT, DROPPED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        collector = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.services |= {
                        a.value.string_value for a in each.resource.attributes if a.key == "service.name"
                    }
                    collector.spans += [span for scope in each.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def facts(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    opened = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", opened.url)
    yield opened
    opened.close()


def test_nothing_is_sent_unless_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_telemetry("headway") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert open_telemetry("headway") is None


def test_a_model_server_tells_of_requests_whose_trace_is_kept(collector: Collector, start_server: StartServer) -> None:
    server = start_server()
    assert server.infer(request(id="kept"), traceparent=KEPT)[0] == 200
    assert server.infer(request(id="dropped"), traceparent=DROPPED)[0] == 200
    assert server.infer(request(-50.0, id="refused"), traceparent=KEPT)[0] == 422
    assert server.infer(request(id="odd"), traceparent="nonsense")[0] == 200
    server.stop()
    spans = {facts(span)["headway.request"]: span for span in collector.spans}
    assert {"kept", "refused"} <= set(spans) <= {"kept", "refused", "odd"}
    assert collector.services == {"headway-model-server"}
    kept = spans["kept"]
    assert (kept.name, kept.trace_id.hex(), kept.parent_span_id.hex()) == ("infer flights", TRACE, CALLER)
    assert 0 < kept.end_time_unix_nano - kept.start_time_unix_nano < 10**9
    assert facts(kept) == {
        "headway.deployment": "flights", "headway.release": "rl_a", "headway.request": "kept", "headway.rows": 1,
        "http.response.status_code": 200,
    }  # fmt: skip
    assert spans["refused"].status.code == 0  # the caller's mistake is none of the server's
    assert "column 'temp'" in facts(spans["refused"])["headway.error"]


@pytest.mark.parametrize(("status", "code"), [(422, 0), (503, 2)])
def test_only_what_the_server_fails_at_is_an_error(collector: Collector, status: int, code: int) -> None:
    telemetry = open_telemetry("headway-model-server")
    capture = Capture(Path(), Shipper(Path(), str, None, str))
    exchange = Exchange(TABLE, time.time_ns(), 1, request="r", status=status, error="bad")
    inference = Inference(ServerCounters(), capture, telemetry)
    inference._over(exchange, Answer(status, b""), time.perf_counter_ns(), Head(traceparent=KEPT.encode()))
    assert telemetry
    telemetry.close()
    [span] = collector.spans
    assert (span.status.code, facts(span)["headway.error"]) == (code, "bad")


def test_the_control_plane_tells_of_requests(collector: Collector, tmp_path: Path) -> None:
    telemetry, application = open_telemetry("headway"), compose(Settings(home=tmp_path / ".headway"))
    assert telemetry
    app = Traced(asgi(application), telemetry)

    async def ask(method: str, path: str) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            pass

        headers = [(b"host", b"localhost"), (b"traceparent", KEPT.encode())]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
                 "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "scheme": "http",
                 "http_version": "1.1", "root_path": ""}  # fmt: skip
        await app(scope, receive, send)

    for method, path in (("GET", "/health"), ("GET", "/v1/runs/secret"), ("POST", "/v1/traces")):
        asyncio.run(ask(method, path))
    telemetry.close()
    application.close()
    assert [(span.name, span.trace_id.hex(), facts(span)["http.response.status_code"]) for span in collector.spans] == [
        ("GET /health", TRACE, 200), ("GET none", TRACE, 401),
    ]  # fmt: skip


def test_steps_are_spans_of_their_run(collector: Collector) -> None:
    telemetry = open_telemetry("headway-worker")
    assert telemetry
    began = datetime(2026, 1, 2, tzinfo=UTC)
    step = StepRun(step="train", started_at=began, state=StepState.RUNNING)
    run = telemetry.begin("run late", **{"headway.run": "rn_1"})
    telemetry.step(step, run)
    telemetry.step(step.but(state=StepState.DONE, ended_at=began + timedelta(seconds=3)), run)
    failed = step.but(step="score", state=StepState.FAILED, ended_at=began, error="Traceback\nValueError: no rows\n")
    telemetry.step(failed, run)
    run.end()
    telemetry.close()
    train, score, whole = collector.spans
    assert {train.parent_span_id, score.parent_span_id} == {whole.span_id}
    assert train.end_time_unix_nano - train.start_time_unix_nano == 3 * 10**9
    assert facts(train) == {"headway.step": "train", "headway.state": "done"}
    assert (score.status.code, score.status.message) == (2, "ValueError: no rows")
