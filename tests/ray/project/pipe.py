"""Steps that say on which node they run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import headway as hw


def _place() -> str:
    """The node that a step is on, or nothing where there is no Ray."""
    try:
        import ray  # noqa: PLC0415

        return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""
    except ImportError:
        return ""


@hw.step
def load(rows: int) -> bytes:
    print("loads", rows)
    return bytes(range(256)) * rows


@hw.step(cpus=1, retries=1)
def count(data: bytes, number: int, pause_s: float, notes: str) -> dict[str, int]:
    with Path(notes).open("a") as file:
        file.write(f"begin {number} {_place()} {os.getpid()}\n")
    time.sleep(pause_s)
    hw.log_metric("counted", len(data), step=number)
    with Path(notes).open("a") as file:
        file.write(f"end {number} {_place()}\n")
    return {"sum": sum(data[:1000]) + number}


@hw.step
def total(parts: list[dict[str, int]]) -> int:
    return sum(part["sum"] for part in parts)


@hw.pipeline
def counting(steps: int = 12, rows: int = 4000, pause_s: float = 0.0, notes: str = "/dev/null") -> Any:
    data = load(rows)
    return total([count(data, number, pause_s, notes) for number in range(steps)])


@hw.step
def fit(depth: int) -> float:
    hw.log_metric("loss", float((depth - 3) ** 2))
    return float((depth - 3) ** 2)


@hw.pipeline
def training(depth: int = 1) -> Any:
    return fit(depth)
