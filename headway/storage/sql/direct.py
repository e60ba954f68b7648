"""A home's SQLite database without SQLAlchemy, for what takes less time than to import that: a run that finds all of
its steps in the cache, a folder of which little has changed. What is written here is what the stores and the journal
write, row by row."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from headway.kernel.access import AccessToken, Actor, sha256
from headway.kernel.clock import to_us
from headway.kernel.ledger import Anchor, Entry, seal
from headway.kernel.records import Record, digest, encode
from headway.lifecycle.runs.records import LastResult, Pipeline, Run, RunState, StepResult, StepRun
from headway.storage.sql.anchor import AnchorFile, head_of

_BUSY_TIMEOUT_S = 30.0
_AT_ONCE = 400
_LOOKED_BACK = 5
_ENTRY = ("number", "at", "actor", "verb", "subject", "why", "record", "before", "came_from", "hash")
_read_result = msgspec.json.Decoder(StepResult).decode
_read_run = msgspec.json.Decoder(Run).decode


class _KeyOfStep(msgspec.Struct):
    """All that is read of a step: a thousand times, so no more than needed."""

    step: str
    state: str
    key: str


_read_step = msgspec.json.Decoder(_KeyOfStep).decode


class DirectDatabase:
    """One connection. `open` gives None for a file that is not there, or is not of this version of Headway."""

    def __init__(self, connection: sqlite3.Connection, anchor: Path) -> None:
        self._connection, self._anchor = connection, anchor

    @classmethod
    def open(cls, database: Path, anchor: Path) -> DirectDatabase | None:
        if not database.is_file():
            return None
        connection = sqlite3.connect(database, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.Error:
            found = None
        if found is None or found[0] != newest_version():
            connection.close()
            return None
        return cls(connection, anchor)

    def token(self, secret: str) -> AccessToken | None:
        body = self._body("SELECT body FROM tokens WHERE secret_sha256 = ? ORDER BY id DESC LIMIT 1", sha256(secret))
        return msgspec.json.decode(body, type=AccessToken) if body else None

    def actor(self, secret: str, now: datetime) -> Actor | None:
        """Who holds this token, if it is known and holds still."""
        token = self.token(secret)
        if token is None or token.revoked_at or (token.expires_at is not None and token.expires_at <= now):
            return None
        return token.actor()

    def has_room(self, experiment: str) -> bool:
        """Whether the experiment is there, not deleted, and no quota has to be counted."""
        found = self._body("SELECT body FROM experiments WHERE name = ? ORDER BY id DESC LIMIT 1", experiment)
        return (
            found is not None and not json.loads(found).get("deleted_at") and not self.quota("runs_per_experiment")
        )  # fmt: skip

    def quota(self, name: str) -> int | None:
        """What was declared last; None for no limit."""
        policy = self._body("SELECT body FROM retention_policies ORDER BY id DESC LIMIT 1")
        found: int | None = json.loads(policy).get("quotas", {}).get(name) if policy else None
        return found

    def pipeline(self, name: str) -> Pipeline | None:
        """The newest of this name."""
        body = self._body("SELECT body FROM pipelines WHERE name = ? ORDER BY id DESC LIMIT 1", name)
        return msgspec.json.decode(body, type=Pipeline) if body else None

    def keyed(self, key: str) -> StepResult | None:
        body = self._body("SELECT body FROM step_results WHERE key = ? ORDER BY id DESC LIMIT 1", key)
        return _read_result(body) if body else None

    def last_results(self, pipeline: str) -> list[LastResult]:
        """As `PipelineService.last_results`, without a look at the blobs."""
        query = "SELECT body FROM runs WHERE experiment = ? ORDER BY id DESC LIMIT ?"
        keys: dict[str, str] = {}
        for (body,) in self._connection.execute(query, (pipeline, _LOOKED_BACK)).fetchall():
            run = _read_run(body)
            if run.pipeline == pipeline:
                for (step,) in self._connection.execute(
                    "SELECT body FROM steps WHERE run = ? ORDER BY place", (run.id,)
                ):
                    read = _read_step(step)
                    if read.state in ("done", "cached"):
                        keys.setdefault(read.step, read.key)
                if run.state is RunState.FINISHED:
                    break
        found = self._among(list(dict.fromkeys(keys.values())))
        return [LastResult(step=step, result=found[key]) for step, key in keys.items() if key in found]

    def _among(self, keys: Sequence[str]) -> dict[str, StepResult]:
        found: dict[str, StepResult] = {}
        for start in range(0, len(keys), _AT_ONCE):
            asked = keys[start : start + _AT_ONCE]
            query = f"SELECT body FROM step_results WHERE key IN ({', '.join('?' * len(asked))}) ORDER BY id"
            results = (_read_result(body) for (body,) in self._connection.execute(query, asked))
            found |= {result.key: result for result in results}
        return found

    def record(self, started: Run, ended: Run, steps: Sequence[StepRun], graph: Pipeline | None, actor: str) -> None:
        """Keep a run that is over, as it began and as it ended, with its steps, and the graph when it is another one.
        All of it or nothing. Raises `LedgerBroken` as the journal does, `sqlite3.Error` when it cannot be written."""
        writes: list[tuple[Record, str, datetime]] = [(started, "run.start", started.created_at)]
        writes += [(graph, "pipeline.record", graph.created_at)] if graph else []
        assert ended.ended_at is not None
        writes.append((ended, f"run.{ended.state}", ended.ended_at))
        with self.transaction() as ledger:
            for record, verb, at in writes:
                ledger.add(record, at, actor=actor, verb=verb)
            self._put_run(ended)
            self._put_steps(ended.id, steps)
            if graph:
                self.insert("pipelines", ("id", "name", "body"), (graph.id, graph.name, encode(graph)))
            self.emit("RunEnded", ended.id, ended.ended_at, {"state": ended.state, "change": ended.change})

    @contextmanager
    def transaction(self) -> Iterator[DirectLedger]:
        """All of what is written inside is kept, or nothing; then the anchor follows."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            ledger = DirectLedger(self, self._head())
            yield ledger
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        AnchorFile(self._anchor).advance(ledger.head)

    @property
    def writing(self) -> bool:
        return self._connection.in_transaction

    def emit(self, kind: str, subject: str, at: datetime, facts: object) -> None:
        event = (kind, subject, to_us(at), encode(facts))
        self.insert("events", ("kind", "subject", "at", "facts"), event)

    def _head(self) -> Anchor:
        anchored = AnchorFile(self._anchor).last
        query = "SELECT number, hash FROM ledger WHERE number = ? OR number = (SELECT max(number) FROM ledger)"
        kept = dict(self._connection.execute(query, (anchored.number,)).fetchall())
        return head_of(kept, anchored)

    def _put_run(self, run: Run) -> None:
        self.insert(
            "runs", ("id", "experiment", "parent", "change", "state", "body"),
            (run.id, run.experiment, run.parent, run.change, run.state.value, encode(run)),
        )  # fmt: skip
        self.insert(
            "run_search", ("run", "experiment", "deleted", "started_at", "ended_at", "name", "state", "user"),
            (
                run.id, run.experiment, 0, to_us(run.started_at or run.created_at),
                None if run.ended_at is None else to_us(run.ended_at), run.name, run.state.value,
                run.user or run.started_by,
            ),
        )  # fmt: skip
        texts = [(run.id, "param", key, value) for key, value in run.params.items()]
        texts += [(run.id, "tag", key, value) for key, value in run.tags.items()]
        query = "INSERT INTO run_texts (run, kind, key, value) VALUES (?, ?, ?, ?)"
        self._connection.executemany(query, texts)

    def _put_steps(self, run: str, steps: Sequence[StepRun]) -> None:
        rows = [(run, step.step, place, encode(step)) for place, step in enumerate(steps)]
        self._connection.executemany("INSERT INTO steps (run, step, place, body) VALUES (?, ?, ?, ?)", rows)

    def insert(self, table: str, names: Sequence[str], values: Sequence[object], *, unless_there: bool = False) -> None:
        columns = ", ".join(f'"{name}"' for name in names)
        how = "INSERT OR IGNORE" if unless_there else "INSERT"
        self._connection.execute(f'{how} INTO "{table}" ({columns}) VALUES ({", ".join("?" * len(names))})', values)

    def replace(self, table: str, names: Sequence[str], values: Sequence[object]) -> None:
        """A row whose first column, its id, may be there already."""
        columns = ", ".join(f'"{name}"' for name in names)
        settings = ", ".join(f'"{name}" = excluded."{name}"' for name in names[1:])
        self._connection.execute(
            f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join("?" * len(names))}) '
            f'ON CONFLICT ("{names[0]}") DO UPDATE SET {settings}',
            values,
        )

    def bodies(self, query: str, *values: object) -> list[bytes]:
        """The first column of all rows."""
        return [body for (body,) in self._connection.execute(query, values)]

    def _body(self, query: str, *values: str) -> bytes | None:
        found = self._connection.execute(query, values).fetchone()
        return found[0] if found else None

    def close(self) -> None:
        self._connection.close()


class DirectLedger:
    """The ledger inside a transaction; `head` is its last entry."""

    def __init__(self, database: DirectDatabase, head: Anchor) -> None:
        self._database, self.head = database, head

    def add(
        self, record: Record, at: datetime, *, actor: str, verb: str, why: str = "", came_from: Sequence[str] = ()
    ) -> None:
        """Seal `record` as it is now, and draw the edges of its lineage."""
        entry = seal(
            Entry(
                number=self.head.number + 1, at=at, actor=actor, verb=verb, subject=record.id, why=why,
                record=digest(encode(record)), before=self.head.hash, came_from=tuple(came_from),
            )
        )  # fmt: skip
        row = {**msgspec.structs.asdict(entry), "at": to_us(at), "came_from": " ".join(came_from)}
        self._database.insert("ledger", _ENTRY, [row[name] for name in _ENTRY])
        for parent in came_from:
            self._database.insert(
                "lineage", ("child", "parent", "at"), (record.id, parent, to_us(at)), unless_there=True
            )
        self.head = Anchor(number=entry.number, hash=entry.hash)


@lru_cache(1)
def newest_version() -> str:
    """That of the newest migration, by the names of the files."""
    folder = Path(__file__).parent / "migrations" / "versions"
    return max(found[1] for path in folder.iterdir() if (found := re.match(r"v(\d{4})_.*\.py$", path.name)))
