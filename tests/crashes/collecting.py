"""A process that writes artifacts, or collects, on a home that others work on too."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from headway.errors import NotFound
from headway.kernel.access import SYSTEM
from headway.kernel.records import digest
from headway.lifecycle.runs.records import StartRun
from headway.server.app import Application, compose
from headway.server.settings import Settings

CONTENTS = tuple(f"content {number}".encode() for number in range(12))
"""Few, so that one is collected again and again just when it is wanted."""


def write(application: Application, seconds: float, seed: int) -> None:
    """Put bytes, or find that they are there; then say what they are. Each artifact that was answered is told."""
    chance, platform = random.Random(seed), application.platform
    run = platform.runs.start(StartRun(experiment="collecting"), by=SYSTEM).id
    until, refused = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data, name = chance.choice(CONTENTS), f"file-{chance.randrange(4)}"
        if chance.random() < 0.3:
            platform.artifacts.remove(run, name, by=SYSTEM)
            continue
        if chance.random() < 0.5 or not application.blobs.has(digest(data)):
            application.blobs.put(data)
        try:
            platform.artifacts.put(run, name, digest(data), len(data), by=SYSTEM)
        except NotFound:
            refused += 1
        else:
            print(run, name, flush=True)
    print("refused", refused, flush=True)


def collect(application: Application, seconds: float, _seed: int) -> None:
    until = time.monotonic() + seconds
    print("ready", flush=True)
    while time.monotonic() < until:
        application.platform.sweeps.sweep(by=SYSTEM, older_than_s=0)


def main(work: str, home: str, seconds: str, seed: str) -> None:
    application = compose(Settings(home=Path(home)))
    try:
        {"write": write, "collect": collect}[work](application, float(seconds), int(seed))
    finally:
        application.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
