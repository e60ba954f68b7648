"""A chain of 100 trivial steps in this process, first and again: milliseconds a step, median of 5.

Blobs and results are kept in memory, so this is the cost of keys, formats and the graph alone.
Run as `python benchmarks/pipelines.py` in the checkout.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from headway.engines.pipelines.executor import LocalExecutor
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.pipeline import pipeline, step
from headway.testing.session import MemorySession

STEPS = 100


@step
def grow(value: int, by: int) -> int:
    return value + by


@pipeline
def chain(start: int) -> object:
    value: object = start
    for by in range(STEPS):
        value = grow(value, by)
    return value


def ms_a_step(session: MemorySession, start: int) -> float:
    began = time.perf_counter()
    LocalExecutor(session, SystemClock(), Path(__file__).parent).run(chain, {"start": start})
    return (time.perf_counter() - began) * 1000 / STEPS


def main() -> None:
    session = MemorySession()
    first = [ms_a_step(session, start) for start in range(5)]
    again = [ms_a_step(session, start) for start in range(5)]
    print(f"chain of {STEPS}: first {statistics.median(first):.3f} ms a step, again {statistics.median(again):.3f}")


if __name__ == "__main__":
    main()
