"""The point-in-time join at full size: seconds, and memory beside that of its inputs.

python benchmarks/features.py [EVENTS [ENTITIES]]
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np
import polars as pl

from headway.engines.feature_views.joining import joined
from headway.lifecycle.feature_views.records import DefineFeatures, Feature

_FEATURES = 20
_TURNS = 3
_YEAR_US = 365 * 86_400_000_000


def main(events: int = 10_000_000, entities: int = 1_000_000) -> None:
    random = np.random.default_rng(0)
    source = pl.DataFrame(
        {
            "customer": random.integers(0, entities, events),
            "at": pl.Series(random.integers(0, _YEAR_US, events)).cast(pl.Datetime("us")),
            **{f"f{number}": random.random(events) for number in range(_FEATURES)},
        }
    )
    times = pl.Series(random.integers(0, _YEAR_US, entities)).cast(pl.Datetime("us"))
    rows = pl.DataFrame({"customer": np.arange(entities), "when": times})
    view = DefineFeatures(
        name="customers", source="orders", entity=("customer",), event_time="at", ttl_s=90 * 86_400.0,
        features=tuple(Feature(name=f"f{number}") for number in range(_FEATURES)),
    )  # fmt: skip
    inputs_mb = (source.estimated_size() + rows.estimated_size()) / 1e6
    before_mb = peak_mb()
    taken = list(turns(rows, view, source))
    print(f"{events:,} events, {entities:,} rows, {_FEATURES} features: {inputs_mb:,.0f} MB")
    print(f"joined in {statistics.median(wall for wall, _ in taken):.2f} s, "
          f"{statistics.median(cpu for _, cpu in taken):.2f} s of CPU (medians of {_TURNS})")  # fmt: skip
    print(f"memory at its highest {peak_mb():,.0f} MB, {peak_mb() / inputs_mb:.1f} times the inputs "
          f"(before the first join {before_mb:,.0f} MB)")  # fmt: skip


def turns(rows: pl.DataFrame, view: DefineFeatures, source: pl.DataFrame) -> Iterator[tuple[float, float]]:
    for _ in range(_TURNS):
        wall, cpu = time.perf_counter(), time.process_time()
        found = joined(rows, "when", [(view, source)])
        yield time.perf_counter() - wall, time.process_time() - cpu
        assert found.height == rows.height
        del found


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
