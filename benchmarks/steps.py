"""What a trivial step costs in a warm worker: milliseconds of CPU, of all processes, median of 5 chains of 200.

The same chain of steps in this process and in one worker, in turns, over a store in memory: the difference is what
handing a step to another process costs. Run as `python benchmarks/steps.py` in the checkout.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
from pathlib import Path
from urllib.parse import unquote

from headway.engines.execution.crew import Crew
from headway.engines.execution.parallel import ParallelExecutor
from headway.engines.execution.wire import Answer, Ask, Opening
from headway.engines.pipelines.executor import LocalExecutor
from headway.kernel.clock import SystemClock
from headway.kernel.records import encode
from headway.lifecycle.runs.pipeline import pipeline, step
from headway.lifecycle.runs.records import Run
from headway.running.options import LocalPlaces
from headway.running.step_worker import COMMAND
from headway.testing.session import MemorySession

STEPS = 200
FOLDER = Path(__file__).resolve().parent


@step
def grow(value: int, by: int) -> int:
    return value + by


@pipeline
def chain(start: int, steps: int) -> object:
    value: object = start
    for by in range(steps):
        value = grow(value, by)
    return value


def cpu_s() -> float:
    """Of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def in_process(session: MemorySession, start: int, steps: int) -> None:
    LocalExecutor(session, SystemClock(), FOLDER).run(chain, {"start": start, "steps": steps})


def in_a_worker(session: MemorySession, start: int, steps: int) -> None:
    def serve(ask: Ask) -> Answer:
        return Answer(200, {}, session.blobs[unquote(ask.path.removeprefix("/v1/blobs/"))])

    run = encode(Run(id=session.run, created_at=SystemClock().now(), experiment="e"))
    opening = Opening(run, "http://localhost", str(FOLDER), tuple(sys.path), (), main=str(Path(__file__).resolve()))
    crew = Crew(COMMAND, opening, serve, dict(os.environ))
    executor = ParallelExecutor(session, SystemClock(), FOLDER, lambda: LocalPlaces(crew), workers=1)
    executor.run(chain, {"start": start, "steps": steps})


def ms_a_step(way: object, start: int) -> float:
    """The difference between a long chain and a short one, so that starting up does not count."""
    assert callable(way)
    used = []
    for steps in (5, 5 + STEPS):
        before = cpu_s()
        way(MemorySession(), start, steps)
        used.append(cpu_s() - before)
    return (used[1] - used[0]) * 1000 / STEPS


def main() -> None:
    found: dict[str, list[float]] = {"in process": [], "in a worker": []}
    for start in range(5):
        found["in process"].append(ms_a_step(in_process, start))
        found["in a worker"].append(ms_a_step(in_a_worker, start))
    for name, values in found.items():
        print(f"{name}: {statistics.median(values):.2f} ms of CPU a step ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
