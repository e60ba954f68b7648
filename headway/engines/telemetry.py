"""Spans by OpenTelemetry, sent as OTLP over HTTP. Without an endpoint in the environment there are none, and no cost.

Source: opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables; what a variable says here is what it
says there. A span is made when what it tells of is over, so that nothing is held meanwhile.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span

    from headway.lifecycle.runs.records import StepRun

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVED_SHARE = 0.01
"""Requests of model servers that have a span, unless OTEL_TRACES_SAMPLER says otherwise."""

log = logging.getLogger(__name__)


class Telemetry:
    """`share` of the traces that begin here are kept; one that began elsewhere is kept if it was kept there."""

    def __init__(self, service: str, share: float = 1.0) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create({} if named else {"service.name": service})
        self._provider = TracerProvider(sampler=_sampler(share), resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("headway")

    def begin(self, name: str, **attributes: Any) -> Span:
        """A span that others have as their parent."""
        return self._tracer.start_span(name, attributes=attributes)

    def record(
        self,
        name: str,
        began_ns: int,
        ended_ns: int,
        attributes: Mapping[str, Any],
        *,
        error: str = "",
        traceparent: str = "",
        parent: Span | None = None,
        serving: bool = False,
    ) -> None:
        """A span that is over; times in nanoseconds since 1970."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        context = set_span_in_context(parent) if parent else None
        if traceparent:
            context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        kind = SpanKind.SERVER if serving else SpanKind.INTERNAL
        span = self._tracer.start_span(name, context, kind, attributes, start_time=began_ns)
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(ended_ns)

    def step(self, step: StepRun, parent: Span) -> None:
        """The span of a step that is over."""
        if step.started_at is not None and step.ended_at is not None:
            facts = {"headway.step": step.step, "headway.state": str(step.state)}
            began_ns, ended_ns = _ns(step.started_at), _ns(step.ended_at)
            error = step.error.strip().rpartition("\n")[2]
            self.record(f"step {step.step}", began_ns, ended_ns, facts, error=error, parent=parent)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def open_telemetry(service: str, share: float = 1.0) -> Telemetry | None:
    """None unless the environment names an endpoint, and the extra is installed."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    if off or not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    try:
        return Telemetry(service, share)
    except ModuleNotFoundError as error:
        log.warning("no spans are sent: %s is missing; pip install 'headway[otel]'", error.name)
        return None


def _sampler(share: float) -> Sampler | None:
    """None is what the environment says."""
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    return None if "OTEL_TRACES_SAMPLER" in os.environ else ParentBased(TraceIdRatioBased(share))


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
