"""A process that adds a table whole, to be killed: `python -m tests.crashes.tables HOME FILE`.

It prints a line for every blob that it has put, and the version's label at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headway import sdk
from headway.storage.blobs import ObjectBlobStore

put = ObjectBlobStore.put


def told(store: ObjectBlobStore, data: bytes) -> str:
    """Goes on once it is told to, so that whoever kills it knows where it is."""
    digest = put(store, data)
    print(digest, flush=True)
    sys.stdin.readline()
    return digest


if __name__ == "__main__":
    home, file = map(Path, sys.argv[1:])
    with sdk.open_client(home=home) as client:
        ObjectBlobStore.put = told  # type: ignore[method-assign]
        print(client.datasets.add("t", file).label, flush=True)
