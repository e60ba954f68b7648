"""Tables that end the process that reads them, found by trying: `python -m tests.engines.damage SEED` until it dies."""

from __future__ import annotations

import functools
import io
import os
import random
import resource
import subprocess
import sys

import polars as pl

from headway.engines.tables.frames import PolarsInspector
from headway.errors import Invalid

_FIRST, _MOST = 1177, 4000
"""The first seed whose table ends polars 2.1; another release may need a look at some more."""


@functools.cache
def deadly_table() -> bytes | None:
    """One such table; None when none of those that are tried is."""
    search = subprocess.run(
        [sys.executable, "-m", "tests.engines.damage", str(_FIRST)], capture_output=True, text=True, check=False,
        timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert search.stdout, search.stderr
    return damaged(int(search.stdout.split()[-1])) if search.returncode < 0 else None


def damaged(seed: int) -> bytes:
    """A good table with one byte of it changed; about one in two thousand ends who reads it."""
    rows, buffer, dice = range(100), io.BytesIO(), random.Random(seed)
    columns = {
        "amount": [row * 0.1 for row in rows],
        "visits": [row % 5 for row in rows],
        "shop": ["north" if row % 3 else None for row in rows],
        "tags": [["a"] for _ in rows],
    }
    pl.DataFrame(columns).write_parquet(buffer, compression="uncompressed")
    data = bytearray(buffer.getvalue())
    data[dice.randrange(4, len(data) - 8)] = dice.randrange(256)
    return bytes(data)


def search(first: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for seed in range(first, first + _MOST):
        print(seed, flush=True)
        try:
            PolarsInspector().summarise(damaged(seed))
        except Invalid:
            continue


if __name__ == "__main__":
    search(int(sys.argv[1]))
