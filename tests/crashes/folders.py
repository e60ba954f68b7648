"""A process that adds a folder or checks one out, to be killed: `python -m tests.crashes.folders WORK HOME FOLDER WAY`.

It prints a line for every file that it has read or written, and the version's label at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headway import sdk
from headway.cli.direct import datasets_of
from headway.cli.invocation import Invocation
from headway.client.datasets import Datasets


def told(size: int) -> None:
    """Goes on once it is told to, so that whoever kills it knows where it is."""
    print(size, flush=True)
    sys.stdin.readline()


def main(work: str, home: str, folder: str, way: str) -> None:
    if way == "platform":
        with sdk.open_client(home=Path(home)) as client:
            go(work, client.datasets, folder)
        return
    if not Path(home).exists():
        sdk.open_client(home=Path(home)).close()
    invocation = Invocation()
    invocation.home = home
    with datasets_of(invocation) as datasets:
        go(work, datasets, folder)


def go(work: str, datasets: Datasets, folder: str) -> None:
    if work == "add":
        print(datasets.add_files("things", folder, advance=told).label, flush=True)
    else:
        done = datasets.checkout("things", folder, advance=told)
        print(f"{done.version} kept {done.kept}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
