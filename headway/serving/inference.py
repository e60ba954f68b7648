"""Answers inference requests, whatever their language: a body in, an answer out, counted and captured."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from headway.engines.runtimes.python import Raised
from headway.engines.telemetry import Telemetry
from headway.errors import (
    BadTensor,
    DeadlineExceeded,
    HeadwayError,
    Invalid,
    NotFound,
    RateExceeded,
    Refused,
    TooLarge,
    UnsupportedMedia,
)
from headway.serving.capture.answered import Answered
from headway.serving.capture.exchange import Exchange, Kept
from headway.serving.counters import ServerCounters
from headway.serving.dialects.dialect import Dialect, OpenInference
from headway.serving.dialects.protocol import RequestParameters
from headway.serving.door import Door, check_deadline, expires_ns
from headway.serving.fallback import HEADER, instead, instead_apart, outputs_apart
from headway.serving.loaded import LoadedRoute, LoadedTable
from headway.serving.messages import Answer, Head
from headway.serving.tensors import Batch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_EVENT_US = 2**53
_LONGEST_ERROR = 2000
_OK, _FAILED = 200, 500
_NO_PARAMETERS = RequestParameters()
NO_HEAD = Head()
OPEN_INFERENCE = OpenInference()

log = logging.getLogger(__name__)


class Sink(Protocol):
    def add(self, exchange: Kept) -> None: ...


class _Failed(NamedTuple):
    """A request whose model failed, for what may stand in."""

    exchange: Exchange
    asked: Any
    loaded: LoadedRoute
    batch: Batch
    error: Exception
    started_ns: int


class Inference:
    """Decode, choose, check, run, encode; then count and capture, whatever came of it."""

    def __init__(
        self, counters: ServerCounters, capture: Sink, telemetry: Telemetry | None = None, door: Door | None = None
    ) -> None:
        self._counters, self._capture, self.door = counters, capture, door or Door()
        self.telemetry = telemetry

    def turn_away(self, table: LoadedTable, head: Head, dialect: Dialect[Any]) -> Answer | None:
        """The answer to a request that is not let in; None for one that is."""
        try:
            self.door.check(table.table.limits, head)
        except HeadwayError as error:
            return self.not_run(table, error, head, dialect)
        return None

    def not_run(self, table: LoadedTable, error: HeadwayError, head: Head, dialect: Dialect[Any]) -> Answer:
        """The answer to a request for which there is no time or room. It is counted, and not captured: it says nothing
        of a release, and a flood of them must not push out what does."""
        key = table.key_in(head)
        release = table.choose(key).route.release if key or len(table.routes) == 1 else ""
        self._counters.releases[release].refused[error.code] += 1
        return _with_delay(dialect.refuse(status_of(error), str(error), error), error)

    def answer(
        self, table: LoadedTable, body: bytes, head: Head = NO_HEAD, dialect: Dialect[Any] = OPEN_INFERENCE
    ) -> Answer | Awaitable[Answer]:
        """The answer to `body`, whose language is `dialect`. The head's key routes a request that brings none. It comes
        later where the model failed and what stands in for it has to be waited for (`table.falls_back_apart`)."""
        started_ns = time.perf_counter_ns()
        exchange = Exchange(table, time.time_ns(), len(body))
        try:
            asked, loaded, batch = _understood(exchange, body, head, dialect)
            try:
                outputs = loaded.runtime.run(batch.feed)
            except Exception as error:  # of whatever class the runtime likes
                if table.falls_back_apart:
                    return self._instead(_Failed(exchange, asked, loaded, batch, error, started_ns), head, dialect)
                loaded, outputs = instead(exchange, loaded, batch, error)
            answer = _told(exchange, dialect, asked, loaded, outputs)
        except DeadlineExceeded as error:
            return self.not_run(table, error, head, dialect)
        except Exception as error:
            answer = _failed(exchange, dialect, error)
        return self._over(exchange, answer, started_ns, head)

    async def answer_apart(
        self, table: LoadedTable, body: bytes, head: Head = NO_HEAD, dialect: Dialect[Any] = OPEN_INFERENCE
    ) -> Answer:
        """`answer`, but others are answered while a worker is waited for."""
        started_ns = time.perf_counter_ns()
        exchange = Exchange(table, time.time_ns(), len(body))
        try:
            asked, loaded, batch = _understood(exchange, body, head, dialect)
            try:
                outputs = await outputs_apart(loaded, batch, table)
            except Exception as error:  # of whatever class the runtime likes
                return await self._instead(_Failed(exchange, asked, loaded, batch, error, started_ns), head, dialect)
            answer = _told(exchange, dialect, asked, loaded, outputs)
        except DeadlineExceeded as error:
            return self.not_run(table, error, head, dialect)
        except Exception as error:
            answer = _failed(exchange, dialect, error)
        return self._over(exchange, answer, started_ns, head)

    async def _instead(self, failed: _Failed, head: Head, dialect: Dialect[Any]) -> Answer:
        exchange = failed.exchange
        try:
            loaded, outputs = await instead_apart(exchange, failed.loaded, failed.batch, failed.error)
            answer = _told(exchange, dialect, failed.asked, loaded, outputs)
        except Exception as error:
            answer = _failed(exchange, dialect, error)
        return self._over(exchange, answer, failed.started_ns, head)

    def _over(self, exchange: Exchange, answer: Answer, started_ns: int, head: Head) -> Answer:
        exchange.latency_us = (time.perf_counter_ns() - started_ns) / 1000
        self.settle(exchange)
        if self.telemetry is not None:
            _trace(self.telemetry, exchange, head)
        return answer

    def settle(self, exchange: Exchange) -> None:
        """Count and capture an exchange that is over."""
        exchange.request = exchange.request or new_id()
        counters = self._counters.releases[exchange.release]
        counters.add(exchange.status, exchange.latency_us, exchange.rows)
        if exchange.fallback:
            counters.fallbacks[exchange.fallback] += 1
        for feature, rows in exchange.filled.items():
            counters.filled[feature] += len(rows)
        for feature, rows in exchange.skewed.items():
            counters.skewed[feature] += len(rows)
        sampling = exchange.table.table.capture
        if sampling.share < 1:
            exchange.sampled = sampling.takes(exchange.request)
        if exchange.sampled or (sampling.keep_errors and (exchange.status != _OK or exchange.fallback)):
            self._capture.add(exchange)
        else:
            counters.unsampled += exchange.rows

    def settle_answered(self, answered: Answered) -> None:
        """Count and capture them."""
        counters, sampling = self._counters.releases[answered.release], answered.table.table.capture
        counters.add_answered(answered.rows, answered.latency_us)
        if sampling.share < 1:
            taken = [sampling.takes(request) for request in answered.ids]
            counters.unsampled += taken.count(False)
            answered = answered.sample(taken)
        if answered.ids:
            self._capture.add(answered)

    def refuse(self, table: LoadedTable, error: HeadwayError, dialect: Dialect[Any] = OPEN_INFERENCE) -> Answer:
        """The answer to a request whose body is not even looked at."""
        exchange = Exchange(table, time.time_ns(), 0)
        answer = _refused(exchange, dialect, status_of(error), str(error), error)
        self.settle(exchange)
        return answer


def _trace(telemetry: Telemetry, exchange: Exchange, head: Head) -> None:
    table = exchange.table.table
    facts = {
        "headway.deployment": table.deployment,
        "headway.release": exchange.release,
        "headway.request": exchange.request,
        "headway.rows": exchange.rows,
        "http.response.status_code": exchange.status,
    }
    if exchange.error:
        facts["headway.error"] = exchange.error
    began_ns = exchange.received_ns
    telemetry.record(
        f"infer {table.deployment}", began_ns, began_ns + round(exchange.latency_us * 1000), facts,
        error=exchange.error if exchange.status >= _FAILED else "", traceparent=head.traceparent.decode("latin-1"),
        serving=True,
    )  # fmt: skip


def _failed(exchange: Exchange, dialect: Dialect[Any], error: Exception) -> Answer:
    if isinstance(error, HeadwayError):
        return _with_delay(_refused(exchange, dialect, status_of(error), str(error), error), error)
    if isinstance(error, Raised):
        log.warning("model raised", extra={"facts": {"release": exchange.release, "error": error.trace or str(error)}})
        return _refused(exchange, dialect, 500, f"the model failed on this request: {error}", error)
    log.error("inference failed", exc_info=error, extra={"facts": {"release": exchange.release}})
    return _refused(exchange, dialect, 500, f"the model failed on this request: {type(error).__name__}", error)


def _with_delay(answer: Answer, error: HeadwayError) -> Answer:
    """Says when to try again, if the error knows."""
    if (after_s := error.details.get("retry_after_s")) is None:
        return answer
    return answer._replace(headers=(*answer.headers, (b"retry-after", b"%d" % after_s)))


def _refused(exchange: Exchange, dialect: Dialect[Any], status: int, message: str, error: Exception) -> Answer:
    exchange.error = message[:_LONGEST_ERROR]
    answer = dialect.refuse(status, exchange.error, error)
    exchange.status = answer.status
    return answer


def _understood(exchange: Exchange, body: bytes, head: Head, dialect: Dialect[Any]) -> tuple[Any, LoadedRoute, Batch]:
    """What was asked, of which route, and its rows, which fit that one."""
    asked = dialect.read(body, head)
    parameters = asked.parameters or _NO_PARAMETERS
    if head.deadline or parameters.timeout:
        _check_deadline(head, parameters.timeout)
    exchange.request = asked.id or new_id()
    exchange.key, batch = _key(exchange, asked, parameters, head, dialect)
    if parameters.event_at is not None:
        exchange.event_us = _event_us(parameters.event_at)
    table = exchange.table
    loaded = table.named(head.version) if head.version else table.choose(exchange.key)
    exchange.release = loaded.route.release
    if batch is None or loaded is not table.keyed:
        batch = dialect.batch(asked, loaded)
    exchange.cells, exchange.rows, exchange.filled = batch.cells, batch.rows, batch.filled
    if parameters.prediction_ids is not None:
        exchange.predictions = _prediction_ids(parameters.prediction_ids, batch.rows)
    exchange.skewed = loaded.inputs.check(batch)
    return asked, loaded, batch


def _key(
    exchange: Exchange, asked: Any, parameters: RequestParameters, head: Head, dialect: Dialect[Any]
) -> tuple[str, Batch | None]:
    """The request's own key, or that of its head, or that of its first row; else its id, by which it goes anywhere.
    With the rows, if they were read for it."""
    table = exchange.table
    if parameters.key is not None:
        return str(parameters.key), None
    if key := table.key_in(head):
        return key, None
    if table.keyed is None:
        return exchange.request, None
    try:
        batch = dialect.batch(asked, table.keyed)
    except HeadwayError:  # the release that is chosen says what is wrong
        return exchange.request, None
    return table.key_of(batch) or exchange.request, batch


def _told(
    exchange: Exchange, dialect: Dialect[Any], asked: Any, loaded: LoadedRoute, outputs: list[NDArray[Any]]
) -> Answer:
    exchange.scores = loaded.scores(outputs, exchange.rows)
    if loaded.classes:
        exchange.probabilities = loaded.probabilities(outputs, exchange.rows)
        exchange.labels = loaded.labels(outputs, exchange.rows)
    answer = dialect.answer(asked, exchange, loaded, outputs)
    if exchange.fallback:
        return answer._replace(headers=(*answer.headers, (HEADER, exchange.fallback.encode())))
    return answer


def _check_deadline(head: Head, timeout_us: int | None) -> None:
    now_ns = time.perf_counter_ns()
    limit_ns = (head.arrived_ns or now_ns) + timeout_us * 1000 if timeout_us else math.inf
    check_deadline(min(expires_ns(head), limit_ns), now_ns)


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
        case UnsupportedMedia():
            return 415
        case Invalid():
            return 400
        case NotFound():
            return 404
        case Refused():
            return 422
        case RateExceeded():
            return 429
        case DeadlineExceeded():
            return 504
    return 503
