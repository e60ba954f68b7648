"""Looking entities up in the file that model servers are shipped: its size, CPU for each lookup, and memory beside it.

python benchmarks/lookups.py [ENTITIES [FEATURES]]
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headway.engines.feature_views.snapshots import Snapshot, packed
from headway.lifecycle.feature_views.records import OnlineRow
from headway.lifecycle.feature_views.rules import entity_key

_TURNS, _LOOKUPS = 5, 20_000


def main(entities: int = 1_000_000, features: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot"
        began = time.process_time()
        path.write_bytes(packed(made(entities, features)))
        print(
            f"{entities:,} entities of {features} features: {path.stat().st_size / 1e6:,.0f} MB, "
            f"made in {time.process_time() - began:.1f} s of CPU"
        )
        # In a process of its own, whose memory holds nothing of what was made here.
        subprocess.run([sys.executable, __file__, "look-up", str(path), str(entities)], check=True)


def made(entities: int, features: int) -> dict[str, OnlineRow]:
    chance, start = random.Random(1), datetime(2026, 1, 1, tzinfo=UTC)
    rows = (
        OnlineRow(
            entity=(each,), event_at=start + timedelta(seconds=each),
            values=tuple(chance.random() for _ in range(features)),
        )
        for each in range(entities)
    )  # fmt: skip
    return {entity_key(row.entity): row for row in rows}


def look_up(path: Path, entities: int) -> None:
    snapshot, chance, taken = Snapshot(path), random.Random(2), []
    before_mb = resident_mb()
    for _ in range(_TURNS):
        keys = [entity_key((chance.randrange(entities),)) for _ in range(_LOOKUPS)]
        began = time.process_time()
        assert all(snapshot.find(key) for key in keys)
        taken.append((time.process_time() - began) / _LOOKUPS * 1e6)
    snapshot.close()
    grown_mb = resident_mb() - before_mb
    print(f"a lookup: {statistics.median(taken):.1f} us of CPU (median of {_TURNS}); memory grew by {grown_mb:.1f} MB")


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["look-up"]:
        look_up(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(*map(int, sys.argv[1:3]))
