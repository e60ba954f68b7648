"""Make the database that a release leaves behind: `python -m tests.upgrades.make_database` before it is published.

Writes `tests/upgrades/<version>/`: a home with one record of each kind, and `records.json` that says what is in it.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from headway.kernel.clock import SystemClock
from headway.kernel.ids import time_sorted
from headway.kernel.records import encode
from headway.lifecycle.predictions.records import Captured, Label, Quality
from headway.lifecycle.runs.curve import curves
from headway.lifecycle.runs.records import Metric, StepRun, StepState
from headway.storage.sql.stores import Opened, open_stores
from headway.testing.samples import samples


def make(home: Path) -> None:
    home.mkdir()
    clock = SystemClock()
    opened = open_stores(home / "headway.db", clock, home / "ledger.head")
    records = samples(time_sorted(clock), clock)
    for name, record in records.items():
        with opened.journal.act("ada", f"{name}.add", why="a sample") as act:
            act.save(getattr(opened.stores, name), record, came_from=["dv_1"])
            act.emit("Added", record.id, store=name)
    _write_the_rest(opened)
    opened.engine.close()
    (home / "records.json").write_bytes(encode(records))


def _write_the_rest(opened: Opened) -> None:
    """What is kept beside records."""
    stores, now = opened.stores, SystemClock().now()
    stores.leases.take("conductor", "somebody", now, 10)
    captured = Captured(
        id="pr_1", deployment="late", segment="sg_1", row=0, release="rl_1", event_at=now, score=0.5
    )  # fmt: skip
    with opened.journal.act("ada", "run.log"):
        points = [Metric(key="loss", value=value, at=now) for value in (0.5, float("nan"))]
        stores.metrics.add({("rn_1", "loss"): curves(points)["loss"]})
        stores.runs.put_steps("rn_1", [StepRun(step="load", state=StepState.DONE)])
        stores.predictions.index([captured])
        stores.predictions.label([Label(prediction="pr_1", value=1.0, at=now)])
        stores.predictions.add_quality([Quality(deployment="late", release="rl_1", day="2026-01-01", n=1, loss=0.5)])
        stores.events.mark("conductor", 3)


if __name__ == "__main__":
    try:
        made_by = version("headway")
    except PackageNotFoundError:
        sys.exit("install the package first: the folder is named for its version")
    make(Path(__file__).parent / made_by)
