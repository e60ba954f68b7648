"""What pipelines cost: a run in which nothing has to run, a trivial step that runs, a large value from step to step.

    python benchmarks/pipelines.py [--rounds 7] [--mib 256] [--with NAME ...] [--cache FOLDER]

- no-op: `headway run` of a chain of 1, 100 and 1000 cached steps without a server, the whole process.
- executed: the same with all steps new, in the process and in one worker; a step is the difference between 1000 and
  100 of them, its result on disk.
- in memory: keys, formats and graph alone, in this process, milliseconds a step.
- hand-over: a step that reads all of a value of `--mib`, which another process has made: by how much memory grew, as a
  multiple of the value's size; what no file lies behind was copied.
- `--with` names another tool (hamilton, kedro, dvc, prefect, metaflow, dagster, zenml). It is installed in an
  environment of its own in the cache folder, outside the checkout, and runs a chain of its own trivial steps first and
  again, in a process each and in turns with Headway. What skips nothing runs all again. A step that runs is the
  difference between a long chain and a short one. Left out with the reason when it does not install or run.

CPU is user and system time of the process and all that it starts. Medians of the rounds count. Bytecode is kept, in
the cache folder, as it is where a package is installed: also where PYTHONDONTWRITEBYTECODE is set.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flows.peers import APPS, PEERS, python_of

from headway.engines.pipelines.executor import LocalExecutor
from headway.kernel.clock import SystemClock
from headway.lifecycle.runs.pipeline import pipeline, step
from headway.testing.session import MemorySession

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headway-benchmarks"
TIMEOUT_S = 900
FLOW = '''
import os

import headway as hw


@hw.step
def grow(value: int, by: int) -> int:
    return value + by


@hw.pipeline
def chain(steps: int = 100, start: int = 0):
    value = start
    for by in range(steps):
        value = grow(value, by)
    return value


@hw.step
def array(mib: int):
    import numpy
    return numpy.random.default_rng(1).random(mib * 2**17)


@hw.step
def table(mib: int):
    import numpy, pyarrow
    return pyarrow.table({"a": numpy.random.default_rng(1).random(mib * 2**17)})


@hw.step
def frame(mib: int):
    import numpy, polars
    return polars.DataFrame({"a": numpy.random.default_rng(1).random(mib * 2**17)})


@hw.step(format="parquet")
def parquet(mib: int):
    return frame.function(mib)


@hw.step(cache=False)
def consume(value, size: int) -> dict:
    """Reads all of it; what memory it takes by then."""
    column = value if hasattr(value, "dtype") else value["a"]
    if hasattr(column, "to_numpy"):
        column = column.to_numpy()
    total = float(column.sum())
    told = dict(line.split(":", 1) for line in open("/proc/self/status") if line.startswith(("Rss", "VmHWM")))
    kib = {name: int(text.split()[0]) for name, text in told.items()}
    return {"sum": total, "peak": kib["VmHWM"] * 1024 / size, "anonymous": kib["RssAnon"] * 1024 / size}


@hw.pipeline
def hand_over(kind: str, mib: int, use: bool = False):
    value = {"npy": array, "arrow": table, "polars": frame, "parquet": parquet}[kind](mib)
    return consume(value, mib * 2**20) if use else None
'''
TOML = """[project]
name = "bench"
[pipelines.chain]
entry = "flow:chain"
[pipelines.hand_over]
entry = "flow:hand_over"
"""


class Took(NamedTuple):
    cpu_ms: float
    wall_ms: float


@step
def grow(value: int, by: int) -> int:
    return value + by


@pipeline
def chain(steps: int, start: int) -> object:
    value: object = start
    for by in range(steps):
        value = grow(value, by)
    return value


def took(command: list[str], folder: Path) -> Took:
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip()[-400:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(cpu * 1000, wall * 1000)


def median(rounds: int, measure: Callable[[], Took]) -> Took:
    return Took(*map(statistics.median, zip(*(measure() for _ in range(rounds)), strict=True)))


class Project:
    """A project of its own, and `headway run` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "flow.py").write_text(FLOW)
        (folder / "headway.toml").write_text(TOML)
        self._starts = 0

    def run(self, name: str, *options: str, **params: object) -> Took:
        given = [text for key, value in params.items() for text in ("-p", f"{key}={value}")]
        return took([sys.executable, "-m", "headway.cli", "run", name, *options, *given], self.folder)

    def new(self, steps: int, *options: str) -> Took:
        """All steps run."""
        self._starts += 1
        return self.run("chain", *options, steps=steps, start=self._starts * 10**6)


def in_memory(rounds: int, steps: int = 100) -> tuple[float, float]:
    """Milliseconds a step, first and again."""
    session = MemorySession()

    def ms_a_step(start: int) -> float:
        began = time.process_time()
        LocalExecutor(session, SystemClock(), Path(__file__).parent).run(chain, {"steps": steps, "start": start})
        return (time.process_time() - began) * 1000 / steps

    first = [ms_a_step(start) for start in range(rounds)]
    again = [ms_a_step(start) for start in range(rounds)]
    return statistics.median(first), statistics.median(again)


def executed_ms(project: Project, *options: str) -> tuple[float, float]:
    """CPU and time of a step that runs: between long chains, since one step is little beside the start."""
    few, many = median(3, lambda: project.new(100, *options)), median(3, lambda: project.new(1000, *options))
    return (many.cpu_ms - few.cpu_ms) / 900, (many.wall_ms - few.wall_ms) / 900


def own(project: Project, rounds: int) -> None:
    for steps in (1, 100, 1000):
        project.run("chain", steps=steps)
        project.run("chain", steps=steps)
        noop = median(rounds, lambda steps=steps: project.run("chain", steps=steps))  # type: ignore[misc]
        print(f"no-op of {steps:>4} steps, whole process: {noop.cpu_ms:.0f} ms CPU, {noop.wall_ms:.0f} ms")
    for where, options in (("in the process", ["--in-process"]), ("in a warm worker", ["--workers", "1"])):
        cpu_ms, wall_ms = executed_ms(project, *options)
        print(f"executed {where}: {cpu_ms:.2f} ms CPU a step, {wall_ms:.2f} ms, its result on disk")
    first, again = in_memory(rounds)
    print(f"in memory: first {first:.3f} ms a step, again {again:.3f}")


def hand_over(project: Project, mib: int) -> None:
    print(f"\nhand-over of {mib} MiB to a step that reads all of it, in sizes of the value:")
    for kind in ("npy", "arrow", "polars", "parquet"):
        try:
            project.run("hand_over", kind=kind, mib=mib)
            project.run("hand_over", kind=kind, mib=mib, use="true")
            found = _consumed(project)
        except RuntimeError as error:
            print(f"{kind:>13}: left out: {str(error).splitlines()[-1]}")
            continue
        print(f"{kind:>13}: peak of the whole process {found['peak']:.2f}, not of a file {found['anonymous']:.2f}")


def _consumed(project: Project) -> dict[str, float]:
    """What the newest step `consume` has given."""
    import headway as hw  # noqa: PLC0415

    with hw.connect(home=project.folder / ".headway") as client:
        run = client.runs.list(experiment="hand_over", limit=1).items[0]
        key = next(each.key for each in client.runs.steps(run.id) if each.step == "consume")
        result = client.pipelines.result(key)
        assert result is not None
        found: dict[str, float] = json.loads(client.blobs.get(result.outputs[0].blob))
        return found


class Beside(NamedTuple):
    """Milliseconds of CPU of a tool and of Headway: with nothing done before, and again."""

    first: float
    our_first: float
    again: float
    our_again: float


def beside(name: str, project: Project, rounds: int, cache: Path, step_ms: float) -> None:
    """`step_ms` is what a step that runs costs Headway."""
    peer, found = PEERS[name], dict[int, Beside]()
    try:
        python = python_of(name, cache)
        for steps in peer.steps:
            ms = found[steps] = _in_turns(name, python, steps, project, rounds)
            texts = " | ".join(f"{each:.0f}" for each in ms)
            print(f"| {name} | {steps} | {texts} | {ms.again / ms.our_again:.1f} |", flush=True)
    except (subprocess.SubprocessError, RuntimeError, OSError) as error:
        print(f"| {name} | left out: {str(error).splitlines()[-1][:200]} |", flush=True)
        return
    few, many = found[min(found)], found[max(found)]
    ran = many.first - few.first if peer.again else many.again - few.again
    theirs = ran / (max(found) - min(found))
    print(f"| {name} | a step that runs | {theirs:.1f} | {step_ms:.1f} | | | {theirs / step_ms:.1f} |", flush=True)


def _in_turns(name: str, python: Path, steps: int, project: Project, rounds: int) -> Beside:
    with tempfile.TemporaryDirectory(prefix=f"headway-bench-{name}-") as folder:
        command = [str(python), str(APPS / f"{name}_chain.py"), str(steps)]
        first, our_first = took(command, Path(folder)), median(rounds, lambda: project.new(steps))
        project.run("chain", steps=steps)
        turns = [(took(command, Path(folder)), project.run("chain", steps=steps)) for _ in range(rounds)]
    again, our_again = (statistics.median(each.cpu_ms for each in both) for both in zip(*turns, strict=True))
    return Beside(first.cpu_ms, our_first.cpu_ms, again, our_again)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--with", dest="peers", action="append", default=[], choices=sorted(PEERS))
    parser.add_argument("--cache", type=Path, default=CACHE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headway-bench-pipelines-") as folder:
        project = Project(Path(folder))
        project.run("chain", steps=1)
        if not given.peers:
            own(project, given.rounds)
            hand_over(project, given.mib)
            return
        print("| tool | steps | first, ms CPU | Headway first | again | Headway again | ratio |")
        print("|---|---|---|---|---|---|---|")
        step_ms, _ = executed_ms(project, "--in-process")
        for name in given.peers:
            beside(name, project, given.rounds, given.cache, step_ms)


if __name__ == "__main__":
    main()
