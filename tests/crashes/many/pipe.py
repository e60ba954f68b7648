"""Chains of steps side by side, each of which notes that it began and that it ended."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import headway as hw


def _note(text: str) -> None:
    with Path(__file__).with_name("notes").open("a") as file:
        file.write(f"{text}\n")


def _work(chain: int, number: int, before: int, pause_s: float) -> int:
    _note(f"begin {chain}.{number}")
    time.sleep(pause_s)
    value = (before * 31 + number) % 1_000_003
    _note(f"end {chain}.{number}")
    return value


@hw.step
def grow(chain: int, number: int, before: int, pause_s: float) -> int:
    print("grows", chain, number)
    return _work(chain, number, before, pause_s)


@hw.step(cache=False)
def always(chain: int, number: int, before: int, pause_s: float) -> int:
    return _work(chain, number, before, pause_s)


@hw.step
def linger(seconds: float) -> int:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(__file__).with_name("daemon").write_text(str(os.getpid()))
            time.sleep(seconds)
        os._exit(0)
    _note("lingers")
    time.sleep(seconds)
    return 1


@hw.pipeline
def chains(chains: int = 3, length: int = 10, pause_s: float = 0.02) -> Any:
    values = [0] * chains
    for number in range(length):
        for chain in range(chains):
            step = always if number % 5 == 4 else grow
            values[chain] = step(chain, number, values[chain], pause_s)
    return values


@hw.pipeline
def lingering(seconds: float = 1000.0) -> Any:
    return linger(seconds)
