"""One of many that push their own version to a remote at once: `python -m tests.storage.racing ADDRESS WHO`.

Waits for a line on standard input, so that all begin together, and prints the number that it was given.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from headway.kernel.records import digest
from headway.lifecycle.datasets.records import DatasetVersion, Form
from headway.storage.remotes.layout import RemoteVersion, remote_version
from headway.storage.remotes.remote import Remote


def version_of(who: str) -> DatasetVersion:
    content = digest(who.encode())
    return DatasetVersion(
        id=f"dv_{who}", created_at=datetime.now(UTC), dataset="raced", number=1, blob=content, size=len(who), rows=0,
        schema=(), form=Form.FILES, files=1, digest=content, root=content, note=who,
    )  # fmt: skip


def main(address: str, who: str) -> None:
    remote = Remote(address)
    remote.put(digest(who.encode()), who.encode())
    print("ready", flush=True)
    sys.stdin.readline()
    first = remote.try_commit(_first(who))
    print(int(first), remote.commit(version_of(who)).number, flush=True)


def _first(who: str) -> RemoteVersion:

    return remote_version(version_of(who), 1, who)


if __name__ == "__main__":
    main(*sys.argv[1:])
