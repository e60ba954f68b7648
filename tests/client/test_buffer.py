"""Gathered logging: nothing lost, nothing twice, errors surface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from headway.client.buffer import FLUSH_AT, Buffer
from headway.errors import HeadwayError, Invalid, Unreachable
from headway.lifecycle.runs.records import LogBatch, Metric

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def points(count: int, first: int = 0) -> LogBatch:
    return LogBatch(
        metrics=tuple(Metric(key="loss", value=float(n), at=NOW, step=n) for n in range(first, first + count))
    )


class Sent:
    """Keeps what was sent; raises the errors it is given first."""

    def __init__(self, *errors: HeadwayError) -> None:
        self.batches: list[LogBatch] = []
        self.errors = list(errors)

    def __call__(self, batch: LogBatch) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(batch)

    @property
    def steps(self) -> list[int]:
        return [metric.step for batch in self.batches for metric in batch.metrics]


@pytest.fixture
def buffer_of() -> Iterator[Callable[..., Buffer]]:
    made: list[Buffer] = []

    def make(send: Callable[[LogBatch], None], every_s: float = 60.0) -> Buffer:
        made.append(Buffer(send, every_s=every_s))
        return made[-1]

    yield make
    for buffer in made:
        buffer.close()


def test_many_calls_are_one_request(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent()
    buffer = buffer_of(sent)
    for step in range(100):
        buffer.add(points(1, step))
    buffer.add(LogBatch(params={"rate": "0.1"}, tags={"who": "me"}))
    assert sent.batches == []
    buffer.flush()
    assert sent.steps == list(range(100))
    assert len(sent.batches) == 1
    assert sent.batches[0].params == {"rate": "0.1"}


def test_sent_at_size_without_being_asked(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent()
    buffer_of(sent).add(points(FLUSH_AT))
    assert len(sent.steps) == FLUSH_AT


def test_sent_after_a_while_without_being_asked(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent()
    buffer_of(sent, every_s=0.01).add(points(1))
    deadline = time.monotonic() + 5
    while not sent.batches and time.monotonic() < deadline:
        time.sleep(0.005)
    assert sent.steps == [0]


def test_what_did_not_get_through_is_sent_later_in_order(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent(Unreachable("down"))
    buffer = buffer_of(sent)
    buffer.add(points(3))
    with pytest.raises(Unreachable):
        buffer.flush()
    buffer.add(points(3, 3))
    buffer.flush()
    assert sent.steps == [0, 1, 2, 3, 4, 5]


def test_what_is_refused_is_dropped_and_said(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent(Invalid("bad key"))
    buffer = buffer_of(sent)
    buffer.add(points(1))
    with pytest.raises(Invalid, match="bad key"):
        buffer.flush()
    buffer.flush()
    assert sent.batches == []


def test_an_error_in_the_background_is_raised_by_the_next_call(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent(Invalid("bad key"))
    buffer = buffer_of(sent, every_s=0.01)
    buffer.add(points(1))
    deadline = time.monotonic() + 5
    while sent.errors and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.02)
    with pytest.raises(Invalid, match="bad key"):
        buffer.add(points(1, 1))


def test_large_backlogs_are_sent_in_parts(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent(*(Unreachable("down") for _ in range(12)))
    buffer = buffer_of(sent)
    for part in range(12):
        with pytest.raises(Unreachable):
            buffer.add(points(FLUSH_AT, part * FLUSH_AT))
    buffer.flush()
    assert sent.steps == list(range(12 * FLUSH_AT))
    assert max(len(batch.metrics) for batch in sent.batches) <= 10_000


def test_threads_lose_nothing(buffer_of: Callable[..., Buffer]) -> None:
    sent = Sent()
    buffer = buffer_of(sent, every_s=0.001)

    def log(first: int) -> None:
        for n in range(200):
            buffer.add(points(1, first + n))

    threads = [threading.Thread(target=log, args=(1000 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    buffer.close()
    assert sorted(sent.steps) == sorted(1000 * k + n for k in range(4) for n in range(200))
    for k in range(4):
        own = [step for step in sent.steps if step // 1000 == k]
        assert own == sorted(own)
