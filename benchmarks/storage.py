"""How fast SQLite keeps: `python -m benchmarks.storage` prints medians of three, in a few seconds.

One act by one thread costs one sync to disk; that the same disk takes many more acts from 16 threads is what the
shared commit is for. The bare sync is printed beside it, because it is the disk and not the code.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.lifecycle.predictions.records import Captured
from headway.lifecycle.runs.curve import curves
from headway.lifecycle.runs.records import Experiment, Metric
from headway.storage.sql.stores import Opened, open_stores

CLOCK = SystemClock()
IDS = time_sorted(CLOCK)
ROWS = 50_000


def acts(opened: Opened, threads: int, each: int) -> int:
    def work(_: int) -> None:
        for _ in range(each):
            name = IDS("ex")
            with opened.journal.act("ada", "experiment.add") as act:
                record = Experiment(id=name, created_at=CLOCK.now(), name=name)
                act.save(opened.stores.experiments, record, came_from=["dv_1"])
                act.emit("ExperimentAdded", name)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return threads * each


def captured(opened: Opened, rows: list[Captured]) -> int:
    fresh = [row.but(id=IDS("pr")) for row in rows]
    started = time.perf_counter()
    with opened.journal.act("ada", "segment.add"):
        opened.stores.predictions.index(fresh)
    return round(len(rows) / (time.perf_counter() - started))


def points(opened: Opened, metrics: list[Metric]) -> int:
    with opened.journal.act("ada", "run.log"):
        run = IDS("rn")
        opened.stores.metrics.add({(run, key): curve for key, curve in curves(metrics).items()})
    return len(metrics)


def syncs(folder: Path) -> int:
    with (folder / "sync").open("wb") as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    return 50


def rate(work: Callable[[], int]) -> int:
    """Units per second."""
    started = time.perf_counter()
    done = work()
    return round(done / (time.perf_counter() - started))


def main() -> None:
    now = CLOCK.now()
    one = Captured(id="", deployment="late", segment=IDS("sg"), row=1, release=IDS("rl"), event_at=now, score=0.5)
    rows = [one] * ROWS
    metrics = [Metric(key=f"m{number % 10}", value=number / 7, step=number // 10, at=now) for number in range(20_000)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        opened = open_stores(home / "headway.db", CLOCK, home / "ledger.head")
        table: dict[str, Callable[[], int]] = {
            "bare syncs/s": lambda: rate(lambda: syncs(home)),
            "acts/s, 1 thread": lambda: rate(lambda: acts(opened, 1, 100)),
            "acts/s, 16 threads": lambda: rate(lambda: acts(opened, 16, 40)),
            "captured rows/s": lambda: captured(opened, rows),
            "metric points/s": lambda: rate(lambda: points(opened, metrics)),
        }
        for name, measure in table.items():
            print(f"{name:20} {median(measure() for _ in range(3)):>10,.0f}")
        opened.engine.close()


if __name__ == "__main__":
    main()
