"""How rows get to an isolated worker and back: inside the message, or through the memory that both sides share.

Two real processes exchange one tensor of doubles of each size in turns, once with everything inline and once with
everything shared. Prints the median time of an exchange and the processor time of both sides, and their ratio. What is
measured decides `isolated.INLINE_BYTES`.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import time
from typing import Any

import numpy as np

from headway.engines.runtimes import isolated
from headway.engines.runtimes.isolated import Memory, reader_of, receive, send

SIZES = (1 << 10, 1 << 13, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 20, 1 << 23)
ROUNDS = 15


def echo(stream: socket.socket, asked: int, answered: int, limit: int) -> None:
    """Sends back what comes, and between two rounds its processor time."""
    isolated.INLINE_BYTES = limit
    read, theirs, ours = reader_of(stream), Memory(asked), Memory(answered)
    while True:
        header, tensors = receive(read, theirs, borrow=True)
        if header == "end":
            return
        send(stream, time.process_time() if header == "time" else {}, tensors, ours)


class Pair:
    """A process that echoes, by one of the two ways."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ours, theirs = socket.socketpair()
        descriptors = [os.memfd_create(name) for name in ("asked", "answered")]
        self._memories = [Memory(each) for each in descriptors]
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=echo, args=(theirs, *descriptors, limit), daemon=True)
        self._process.start()
        self._read = reader_of(self._ours)

    def exchange(self, tensors: Any, header: Any = None) -> Any:
        isolated.INLINE_BYTES = self._limit
        send(self._ours, header or {}, tensors, self._memories[0])
        return receive(self._read, self._memories[1])

    def timed(self, tensors: Any, times: int) -> tuple[float, float]:
        """Microseconds of one exchange: elapsed, and of both processors."""
        theirs, own, began = self.exchange({}, "time")[0], time.process_time(), time.perf_counter()
        for _ in range(times):
            self.exchange(tensors)
        elapsed, used = time.perf_counter() - began, time.process_time() - own
        used += self.exchange({}, "time")[0] - theirs
        return elapsed / times * 1e6, used / times * 1e6

    def close(self) -> None:
        send(self._ours, "end", {}, self._memories[0])
        self._process.join()


def main() -> None:
    pairs = {"inline": Pair(1 << 40), "shared": Pair(0)}
    print(f"{'bytes':>10}  {'inline us (cpu)':>20}  {'shared us (cpu)':>20}  shared / inline (cpu)")
    for size in SIZES:
        tensors = {"x": np.arange(size // 8, dtype=np.float64)}
        times, found = max(5, min(200, (1 << 22) // size)), {name: list[tuple[float, float]]() for name in pairs}
        for _ in range(ROUNDS):
            for name, pair in pairs.items():
                found[name].append(pair.timed(tensors, times))
        medians = {
            name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in found.items()
        }
        inline, shared = medians["inline"], medians["shared"]
        told = [f"{elapsed:.0f} ({used:.0f})" for elapsed, used in (inline, shared)]
        print(f"{size:>10}  {told[0]:>20}  {told[1]:>20}  {shared[0] / inline[0]:.2f} ({shared[1] / inline[1]:.2f})")
    for pair in pairs.values():
        pair.close()


if __name__ == "__main__":
    main()
