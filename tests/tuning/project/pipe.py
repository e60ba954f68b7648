"""What searches are for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import headway as hw


@hw.step
def load(rows: int) -> list[int]:
    with Path(__file__).with_name("notes").open("a") as file:
        file.write("load\n")
    return list(range(rows))


@hw.step
def fit(rows: list[int], depth: int, rate: float, kind: str, epochs: int, pause_s: float) -> float:
    loss = float(abs(depth - 4)) + (0.0 if kind == "good" else 10.0) + rate
    for epoch in range(epochs):
        hw.log_metric("loss", loss + (epochs - epoch) / 100, step=epoch)
        with Path(__file__).with_name("notes").open("a") as file:
            file.write(f"epoch {kind} {epoch}\n")
        time.sleep(pause_s)
    hw.log_metric("loss", loss, step=epochs)
    return loss


@hw.pipeline
def train(depth: int, rate: float = 0.5, kind: str = "good", epochs: int = 2, pause_s: float = 0.0) -> Any:
    return fit(load(5), depth, rate, kind, epochs, pause_s)


@hw.step
def refuse(depth: int) -> float:
    if depth == 1:
        raise ValueError("not 1")
    return float(depth)


@hw.pipeline
def picky(depth: int) -> Any:
    return {"loss": refuse(depth)}
