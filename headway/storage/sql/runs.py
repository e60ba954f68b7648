"""Experiments, runs, what they log, and results of steps in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, func, select

from headway.kernel.clock import from_us, to_us
from headway.kernel.paging import Page
from headway.kernel.records import encode
from headway.lifecycle.runs.logged import LoggedModel
from headway.lifecycle.runs.records import Artifact, Experiment, Pipeline, Run, StepLog, StepResult, StepRun
from headway.lifecycle.runs.search import RunSearch
from headway.lifecycle.runs.traces import Span, Trace, TraceWalk
from headway.storage.sql.search import index_run
from headway.storage.sql.searching import counted, found
from headway.storage.sql.tables import METADATA, TEXT, RecordTable, SqlRecordStore
from headway.storage.sql.trace_search import index_trace, walking

EXPERIMENTS = RecordTable("experiments", Experiment, "name", unique=[("name",)])
RUNS = RecordTable(
    "runs", Run, "experiment", "parent", "change", "state", index=["experiment", "parent", "change", "state"]
)
ARTIFACTS = RecordTable("artifacts", Artifact, "run", "name", index=["run"])
STEP_RESULTS = RecordTable("step_results", StepResult, "key", index=["key"])
PIPELINES = RecordTable("pipelines", Pipeline, "name", index=["name"])
LOGGED_MODELS = RecordTable("logged_models", LoggedModel, "experiment", index=["experiment"])
TRACES = RecordTable("traces", Trace, "request", "experiment", index=["experiment"], unique=[("request",)])
STEPS = Table(
    "steps",
    METADATA,
    Column("run", TEXT, primary_key=True),
    Column("step", TEXT, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
STEP_LOGS = Table(
    "step_logs",
    METADATA,
    Column("run", TEXT, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("text", TEXT, nullable=False),
)
SPANS = Table(
    "spans",
    METADATA,
    Column("request", TEXT, primary_key=True),
    Column("span", TEXT, primary_key=True),
    Column("started_ns", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

_AT_ONCE = 400
_read_span = msgspec.json.Decoder(Span).decode
_read_step = msgspec.json.Decoder(StepRun).decode


class SqlExperimentStore(SqlRecordStore[Experiment]):
    table = EXPERIMENTS

    def named(self, name: str) -> Experiment | None:
        return self._by("name", name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Experiment]:
        return self._page(limit, before)


class SqlRunStore(SqlRecordStore[Run]):
    table = RUNS

    def put(self, record: Run) -> None:
        before = self.get(record.id)
        super().put(record)
        index_run(self._engine, record, before)

    def search(self, question: RunSearch) -> Page[Run]:
        with self._engine.reading() as connection:
            page = found(connection, question)
            bodies: dict[str, bytes] = {}
            for start in range(0, len(page.runs), _AT_ONCE):
                asked = page.runs[start : start + _AT_ONCE]
                query = f"SELECT id, body FROM runs WHERE id IN ({', '.join([self._engine.mark] * len(asked))})"
                for run, body in connection.exec_driver_sql(query, tuple(asked)).all():
                    bodies[run] = body
        return Page(items=tuple(RUNS.read(bodies[run]) for run in page.runs if run in bodies), next=page.next)

    def count(self, question: RunSearch) -> int:
        with self._engine.reading() as connection:
            return int(connection.execute(counted(question)).scalar_one())

    def put_steps(self, run: str, steps: Sequence[StepRun]) -> None:
        """Keep the state of each of `steps`; those of the run that are not named stay as they are."""
        with self._engine.writing() as connection:
            query = select(STEPS.c.step, STEPS.c.place).where(STEPS.c.run == run)
            places = {row.step: row.place for row in connection.execute(query)}
            for step in steps:
                places.setdefault(step.step, len(places))
            rows = [{"run": run, "step": step.step, "place": places[step.step], "body": encode(step)} for step in steps]
            if rows:
                connection.execute(self._engine.upsert(STEPS), rows)

    def steps(self, run: str) -> list[StepRun]:
        query = select(STEPS.c.body).where(STEPS.c.run == run).order_by(STEPS.c.place)
        with self._engine.reading() as connection:
            return [_read_step(body) for body in connection.scalars(query)]

    def add_log(self, run: str, step: str, at: datetime, text: str) -> int:
        with self._engine.writing() as connection:
            last = connection.scalar(select(func.max(STEP_LOGS.c.number)).where(STEP_LOGS.c.run == run)) or 0
        self._engine.insert_rows(STEP_LOGS, [(run, last + 1, step, to_us(at), text)])
        return last + 1

    def logs(self, run: str, *, step: str | None = None, after: int = 0, limit: int = 100) -> Sequence[StepLog]:
        query = select(STEP_LOGS).where(STEP_LOGS.c.run == run, STEP_LOGS.c.number > after)
        if step is not None:
            query = query.where(STEP_LOGS.c.step == step)
        with self._engine.reading() as connection:
            rows = connection.execute(query.order_by(STEP_LOGS.c.number).limit(limit)).all()
        return [StepLog(number=row.number, step=row.step, at=from_us(row.at), text=row.text) for row in rows]

    def list(
        self, *, experiment: str | None = None, parent: str | None = None, change: str | None = None,
        state: str | None = None, limit: int = 100, before: str | None = None,
    ) -> Page[Run]:  # fmt: skip
        return self._page(limit, before, experiment=experiment, parent=parent, change=change, state=state)


class SqlArtifactStore(SqlRecordStore[Artifact]):
    table = ARTIFACTS

    def named(self, run: str, name: str) -> Artifact | None:
        return self._first(ARTIFACTS.rows.c.run == run, ARTIFACTS.rows.c.name == name)

    def list(self, run: str) -> list[Artifact]:
        """Oldest first."""
        return self._every(ARTIFACTS.rows.c.run == run)


class SqlStepResultStore(SqlRecordStore[StepResult]):
    table = STEP_RESULTS

    def keyed(self, key: str) -> StepResult | None:
        return self._by("key", key)

    def among(self, keys: Sequence[str]) -> dict[str, StepResult]:
        found: dict[str, StepResult] = {}
        for start in range(0, len(keys), _AT_ONCE):
            asked = tuple(keys[start : start + _AT_ONCE])
            marks = ", ".join([self._engine.mark] * len(asked))
            query = f"SELECT body FROM step_results WHERE key IN ({marks}) ORDER BY id"
            results = (STEP_RESULTS.read(body) for (body,) in self._engine.rows(query, asked))
            found |= {result.key: result for result in results}
        return found


class SqlPipelineStore(SqlRecordStore[Pipeline]):
    table = PIPELINES

    def named(self, name: str) -> Pipeline | None:
        return self._first(PIPELINES.rows.c.name == name)

    def all(self, *, limit: int = 100, before: str | None = None) -> Page[Pipeline]:
        return self._page(limit, before)


class SqlLoggedModelStore(SqlRecordStore[LoggedModel]):
    table = LOGGED_MODELS

    def list(self, experiment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[LoggedModel]:
        return self._page(limit, before, experiment=experiment)


class SqlTraceStore(SqlRecordStore[Trace]):
    table = TRACES

    def of(self, request: str) -> Trace | None:
        return self._first(TRACES.rows.c.request == request)

    def put(self, record: Trace) -> None:
        before = self.get(record.id)
        super().put(record)
        index_trace(self._engine, record, before)

    def walk(self, question: TraceWalk) -> Sequence[Trace]:
        among = walking(question).subquery("among")
        rows = TRACES.rows
        query = select(rows.c.body).join(among, among.c.trace == rows.c.id)
        query = query.order_by(among.c.began_ms.desc() if question.descending else among.c.began_ms, rows.c.id.desc())
        with self._engine.reading() as connection:
            return [TRACES.read(body) for body in connection.scalars(query)]

    def put_spans(self, spans: Sequence[Span]) -> None:
        rows = [(span.request, span.id, span.started_ns, encode(span)) for span in spans]
        self._engine.insert_rows(SPANS, rows, replace=True)

    def spans(self, requests: Sequence[str]) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = {request: [] for request in requests}
        with self._engine.reading() as connection:
            for start in range(0, len(requests), _AT_ONCE):
                query = select(SPANS.c.request, SPANS.c.body).order_by(SPANS.c.started_ns, SPANS.c.span)
                query = query.where(SPANS.c.request.in_(requests[start : start + _AT_ONCE]))
                for request, body in connection.execute(query):
                    found[request].append(_read_span(body))
        return found

    def list(self, experiment: str | None = None, *, limit: int = 100, before: str | None = None) -> Page[Trace]:
        return self._page(limit, before, experiment=experiment)
