"""The newest values of a feature view as one file, which model servers look entities up in.

It is an SQLite database of one table, so that a server reads the pages it needs and holds none of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from headway.kernel.records import encode
from headway.lifecycle.feature_views.records import OnlineRow

_read = msgspec.json.Decoder(OnlineRow).decode


def packed(rows: Mapping[str, OnlineRow]) -> bytes:
    """The file of `rows`, by `rules.entity_key`; of the same rows always the same."""
    import sqlite3  # noqa: PLC0415

    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO rows VALUES (?, ?)", ((key, encode(rows[key])) for key in sorted(rows)))
        connection.execute("COMMIT")
        return connection.serialize()
    finally:
        connection.close()


class Snapshot:
    """Such a file on the local disk. It stays readable when the file is removed, until it is closed."""

    def __init__(self, path: Path) -> None:
        # Here, since a model server whose tables look nothing up needs it not, and 0.8 MiB less.
        import sqlite3  # noqa: PLC0415

        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )

    def find(self, key: str) -> OnlineRow | None:
        found = self._connection.execute("SELECT body FROM rows WHERE key = ?", (key,)).fetchone()
        return _read(found[0]) if found else None

    def close(self) -> None:
        self._connection.close()
