"""Keeps every request and answer, off the path of the request: a bounded queue, emptied into segments by a thread.

A queue that is full drops the newest and counts them: by its rows, or by the bytes of all queues of the process. All
state is touched on the event loop alone; the thread gets a batch and gives back a tally.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from headway.lifecycle.models.records import TensorSpec
from headway.serving.capture.budget import Budget
from headway.serving.capture.exchange import Kept, written
from headway.serving.capture.pace import Pace
from headway.serving.capture.shipping import Shipper
from headway.serving.capture.tally import Tally
from headway.serving.counters import CaptureStatus
from headway.serving.heap import Heap
from headway.serving.loaded import LoadedTable

FLUSH_ROWS = 4_000
_JOIN_AFTER, _JOIN_BELOW = 32, 4
"""Exchanges, and their rows on average: joined, lone rows of numbers take a fifth of the memory and less work later.
Few at a time, and once the answer is on its way, since requests wait meanwhile."""
_EXCHANGE_BYTES = 1000
"""What an exchange holds beside its body."""

log = logging.getLogger(__name__)


class Capture:
    """`most_rows` bounds what waits in memory; `spool` is where segments wait for the control plane."""

    def __init__(
        self,
        spool: Path,
        shipper: Shipper,
        most_rows: int = 200_000,
        pace: Pace | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._spool, self._shipper, self._pace, self._budget = spool, shipper, pace or Pace(), budget or Budget()
        self._most_rows = most_rows
        self._queue: list[Kept] = []
        self._rows = self.waiting_bytes = self._apart = 0
        self._counts, self._mirror_error = CaptureStatus(), ""
        self._some, self._wake, self._flushing, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Lock(), False
        self.on_written: Callable[[], None] | None = None
        """Called at each flush, once what waited is in the spool."""
        remove_unfinished(spool)

    def resume(self, counts: CaptureStatus) -> None:
        """Count on from `counts`, which a worker had that is no more."""
        self._counts = counts.but(queued=0, unsent=0, error="")

    def add(self, exchange: Kept) -> None:
        """Queue an exchange, or drop it and count its rows."""
        rows, size = self._rows + exchange.rows, exchange.size + _EXCHANGE_BYTES
        if rows > self._most_rows or not self._budget.take(size):
            self._counts = self._counts.but(dropped=self._counts.dropped + exchange.rows)
            return
        if not self._queue:
            self._some.set()
        self._queue.append(exchange)
        self._rows, self.waiting_bytes = rows, self.waiting_bytes + size
        self._apart += 1
        if self._apart == _JOIN_AFTER:
            asyncio.get_running_loop().call_soon(self._join)
        if rows >= FLUSH_ROWS:
            self.hurry()

    def _join(self) -> None:
        """Join the newest exchanges where they can be, and where that is worth it."""
        begin, self._apart = len(self._queue) - self._apart, 0
        apart = self._queue[begin:]
        if sum([exchange.rows for exchange in apart]) > _JOIN_BELOW * len(apart):
            return
        joined = written(apart)
        self._queue[begin:] = joined
        saved = _bytes(apart) - _bytes(joined)
        self.waiting_bytes -= saved
        self._budget.give(saved)

    def hurry(self) -> None:
        """Flush soon, but for what could not be written: that has to wait as long as ever."""
        if not self._counts.error:
            self._wake.set()

    def recount(self) -> None:
        """Look at the spool anew, where other workers write and send as well."""
        self._shipper.recount()

    def status(self) -> CaptureStatus:
        error = self._counts.error or self._shipper.error
        return self._counts.but(queued=self._rows, unsent=self._shipper.unsent, error=error)

    async def run(self) -> None:
        """Flush every half second, less often where many deployments have few rows each, or when much waits, until
        `close`; then once more."""
        self._pace.join(self._waits)
        self._budget.join(self)
        while not self._closing:
            await self._pause()
            try:
                await self.flush()
            except Exception:  # whatever is wrong with one flush must not end the capture
                log.exception("flush failed")
        self._pace.leave(self._waits)
        self._budget.leave(self)
        await self.flush(at_once=True)

    async def _pause(self) -> None:
        """Until it is time to flush; while there is nothing to do, without waking."""
        if not (self._queue or self._shipper.unsent or self.on_written):
            await self._some.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), self._pace.interval_s())
        self._some.clear()
        self._wake.clear()

    def _waits(self) -> bool:
        return bool(self._queue)

    def close(self) -> None:
        """Let `run` come to its end."""
        self._closing = True
        self._some.set()
        self._wake.set()

    async def flush(self, *, at_once: bool = False) -> CaptureStatus:
        """Write what waits to the spool and send the spool; `at_once` does not wait out an earlier failure."""
        async with self._flushing:
            waited = bool(self._queue)
            await self._write()
            if self.on_written:
                self.on_written()
            if at_once or waited or self._shipper.unsent:
                await asyncio.to_thread(self._shipper.send, at_once=at_once)
        return self.status()

    async def _write(self) -> None:
        pieces = [(inputs, piece) for inputs, exchanges in _by_inputs(self._taken()) for piece in _pieces(exchanges)]
        while pieces:
            inputs, exchanges = pieces.pop(0)
            try:
                async with self._pace.one_at_a_time:
                    self._budget.give(_bytes(exchanges))  # what is being written now, of one deployment, is not counted
                    tally, cpu_s = await asyncio.to_thread(_keep, exchanges, inputs, self._spool, self._budget.heap)
            except OSError as error:
                self._put_back(exchanges, f"segments cannot be written to {self._spool}: {error}")
            except Exception as error:  # one batch that cannot be written must not end the capture
                log.exception("capture failed")
                rows = sum(exchange.rows for exchange in exchanges)
                self._counts = self._counts.but(dropped=self._counts.dropped + rows, error=f"{type(error).__name__}")
            else:
                self._count(tally)
                if tally.rows < FLUSH_ROWS:
                    self._pace.spent(cpu_s)

    def _put_back(self, exchanges: list[Kept], error: str) -> None:
        if error != self._counts.error:
            log.error("capture waits", extra={"facts": {"error": error}})
        self._counts = self._counts.but(error=error)
        waiting = self._taken()
        self._budget.give(_bytes(waiting))
        for exchange in (*exchanges, *waiting):
            self.add(exchange)

    def _taken(self) -> list[Kept]:
        """What waits, which does so no more."""
        queue, self._queue = self._queue, []
        self._rows = self.waiting_bytes = self._apart = 0
        return queue

    def _count(self, tally: Tally) -> None:
        counts = self._counts
        if tally.mirror_error != self._mirror_error:
            self._mirror_error = tally.mirror_error
            log.warning("mirror changed", extra={"facts": {"error": tally.mirror_error}})
        self._counts = counts.but(
            captured=counts.captured + tally.rows,
            non_finite=counts.non_finite + tally.non_finite,
            saturated=dict(Counter(counts.saturated) + tally.saturated),
            mirrored=counts.mirrored + tally.mirrored,
            mirror_failures=counts.mirror_failures + tally.mirror_failures,
            segments=counts.segments + 1,
            error="",
        )


def _bytes(exchanges: Iterable[Kept]) -> int:
    """What they take of the budget."""
    return sum(exchange.size + _EXCHANGE_BYTES for exchange in exchanges)


def _by_inputs(queue: list[Kept]) -> Iterable[tuple[tuple[TensorSpec, ...], list[Kept]]]:
    """The exchanges by the features that their segment has."""
    releases: defaultdict[tuple[LoadedTable, str], list[Kept]] = defaultdict(list)
    for exchange in queue:
        releases[exchange.table, exchange.release].append(exchange)
    groups: defaultdict[tuple[TensorSpec, ...], list[Kept]] = defaultdict(list)
    for (table, release), exchanges in releases.items():
        groups[table.inputs_of(release)] += exchanges
    return groups.items()


def _pieces(exchanges: list[Kept]) -> Iterator[list[Kept]]:
    """Of about `FLUSH_ROWS` rows each: writing one takes memory, and keeps the interpreter from others, by its rows."""
    piece, rows = list[Kept](), 0
    for exchange in exchanges:
        piece.append(exchange)
        rows += exchange.rows
        if rows >= FLUSH_ROWS:
            yield piece
            piece, rows = [], 0
    if piece:
        yield piece


def _keep(exchanges: list[Kept], inputs: tuple[TensorSpec, ...], spool: Path, heap: Heap) -> tuple[Tally, float]:
    """What was written, and the processor time that it took. Once they are safe, the exchanges are let go."""
    # Here, since what writes Parquet takes a tenth of a server's memory, and of the time until its first answer.
    from headway.serving.capture.segments import segment, write  # noqa: PLC0415

    began_s = time.thread_time()
    made = segment(exchanges, inputs)
    write(made.data, spool)
    exchanges.clear()
    heap.look()
    return made.tally, time.thread_time() - began_s


def remove_unfinished(spool: Path) -> None:
    """Remove the files whose writer died; one that lives holds a lock on its file."""
    for path in spool.glob("*.tmp"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
