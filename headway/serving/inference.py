"""Answers inference requests: bytes in, status and bytes out. Nothing in here knows of HTTP."""

from __future__ import annotations

import logging
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from numpy.typing import NDArray

from headway.errors import BadTensor, HeadwayError, Invalid, NotFound, Refused, TooLarge
from headway.lifecycle.models.records import Signature
from headway.serving.counters import ServerCounters
from headway.serving.exchange import Exchange
from headway.serving.protocol import (
    InferRequest,
    InferResponse,
    OutputTensor,
    RequestParameters,
    decode,
    encode,
    encode_error,
)
from headway.serving.router import LoadedRoute, LoadedTable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_EVENT_US = 2**53
_LONGEST_ERROR = 2000
_NO_PARAMETERS = RequestParameters()

log = logging.getLogger(__name__)


class Sink(Protocol):
    def add(self, exchange: Exchange) -> None: ...


class Inference:
    """Decode, choose, check, run, encode; then count and capture, whatever came of it."""

    def __init__(self, counters: ServerCounters, capture: Sink) -> None:
        self._counters, self._capture = counters, capture

    def answer(self, table: LoadedTable, body: bytes, key: str = "") -> tuple[int, bytes]:
        """Status and body of the answer to `body`. `key` routes a request that brings none of its own."""
        started_ns = time.perf_counter_ns()
        exchange = Exchange(table, time.time_ns(), len(body))
        try:
            answer = _infer(exchange, body, key)
        except HeadwayError as error:
            exchange.status, exchange.error = status_of(error), str(error)[:_LONGEST_ERROR]
            answer = encode_error(exchange.error)
        except Exception as error:
            log.exception("inference failed", extra={"facts": {"release": exchange.release}})
            exchange.status, exchange.error = 500, f"the model failed on this request: {type(error).__name__}"
            answer = encode_error(exchange.error)
        exchange.latency_us = (time.perf_counter_ns() - started_ns) / 1000
        self.settle(exchange)
        return exchange.status, answer

    def settle(self, exchange: Exchange) -> None:
        """Count and capture an exchange that is over."""
        exchange.request = exchange.request or new_id()
        self._counters.releases[exchange.release].add(exchange.status, exchange.latency_us)
        self._capture.add(exchange)

    def refuse(self, table: LoadedTable, error: HeadwayError) -> tuple[int, bytes]:
        """The answer to a request whose body is not even looked at."""
        exchange = Exchange(table, time.time_ns(), 0, status=status_of(error), error=str(error))
        self.settle(exchange)
        return exchange.status, encode_error(exchange.error)


def _infer(exchange: Exchange, body: bytes, key: str) -> bytes:
    request = decode(body)
    parameters = request.parameters or _NO_PARAMETERS
    exchange.request = request.id or new_id()
    exchange.key = str(parameters.key) if parameters.key is not None else key or exchange.request
    if parameters.event_at is not None:
        exchange.event_us = _event_us(parameters.event_at)
    loaded = exchange.table.choose(exchange.key)
    exchange.release = loaded.route.release
    batch = loaded.inputs.read(request.inputs)
    exchange.cells, exchange.rows = batch.cells(loaded.inputs.columns), batch.rows
    if parameters.prediction_ids is not None:
        exchange.predictions = _prediction_ids(parameters.prediction_ids, batch.rows)
    loaded.inputs.check(batch)
    wanted = _wanted(request, loaded.route.signature)
    outputs = loaded.runtime.run(batch.feed)
    exchange.scores = loaded.scores(outputs, batch.rows)
    return encode(_response(exchange, loaded, outputs, wanted))


def _response(
    exchange: Exchange, loaded: LoadedRoute, outputs: list[NDArray[Any]], wanted: list[int] | None
) -> InferResponse:
    route = loaded.route
    places = range(len(outputs)) if wanted is None else wanted
    specs = route.signature.outputs
    return InferResponse(
        model_name=exchange.table.table.deployment,
        model_version=str(route.version),
        id=exchange.request,
        outputs=[
            OutputTensor(specs[at].name, specs[at].datatype, outputs[at].shape, outputs[at].ravel().tolist())
            for at in places
        ],
        parameters={"release": route.release},
    )


def _wanted(request: InferRequest, signature: Signature) -> list[int] | None:
    if not request.outputs:
        return None
    names = [spec.name for spec in signature.outputs]
    try:
        return [names.index(output.name) for output in request.outputs]
    except ValueError:
        strange = next(output.name for output in request.outputs if output.name not in names)
        raise BadTensor(f"there is no output {strange!r}; the model has {names}") from None


def _prediction_ids(identifiers: list[str], rows: int) -> list[str]:
    if len(identifiers) != rows or len(set(identifiers)) != rows:
        raise BadTensor(f"prediction_ids must be {rows} different ids, one per row; there are {len(set(identifiers))}")
    return identifiers


def _event_us(event_at: datetime) -> int:
    event_us = (event_at - _EPOCH) // _MICROSECOND
    if not 0 <= event_us <= _LAST_EVENT_US:
        raise BadTensor(f"event_at must lie between 1970 and 2255, not at {event_at}")
    return event_us


def new_id() -> str:
    """128 random bits: as unlikely to meet again as a UUID, for a fifth of its cost."""
    return f"{random.getrandbits(128):032x}"


def status_of(error: HeadwayError) -> int:
    match error:
        case TooLarge():
            return 413
        case Invalid():
            return 400
        case NotFound():
            return 404
        case Refused():
            return 422
    return 503
