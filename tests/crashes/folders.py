"""A process that adds a folder or checks one out, to be killed: `python -m tests.crashes.folders WORK HOME FOLDER`.

It prints a line for every file that it has read or written, and the version's label at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headway import sdk


def told(size: int) -> None:
    """Goes on once it is told to, so that whoever kills it knows where it is."""
    print(size, flush=True)
    sys.stdin.readline()


def main(work: str, home: str, folder: str) -> None:
    client = sdk.open_client(home=Path(home))
    if work == "add":
        print(client.datasets.add_files("things", folder, advance=told).label, flush=True)
    else:
        done = client.datasets.checkout("things", folder, advance=told)
        print(f"{done.version} kept {done.kept}", flush=True)
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
