"""Searching runs in SQL: beside the records, one narrow row per run and one per param and tag.

The page of a search walks the runs of its experiments in the order of their start, by an index, and looks each
condition up by its key: what it costs follows the experiment and the page, not the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Select,
    Table,
    and_,
    case,
    exists,
    func,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from headway.lifecycle.runs.records import Run
from headway.lifecycle.runs.search import Condition, Field, Kind, Operator, Order, RunSearch
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.metrics import CURVES
from headway.storage.sql.tables import METADATA, TEXT, to_us

FOUND = Table(
    "run_search",
    METADATA,
    Column("run", TEXT, primary_key=True),
    Column("experiment", TEXT, nullable=False),
    Column("deleted", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("name", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("user", TEXT, nullable=False),
    Index("run_search_newest", "experiment", "deleted", "started_at", "run"),
)
TEXTS = Table(
    "run_texts",
    METADATA,
    Column("run", TEXT, primary_key=True),
    Column("kind", TEXT, primary_key=True),
    Column("key", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    sqlite_with_rowid=False,
)
"""`kind` is param, tag, or input_ and the field; the key of an input is its place."""

_FOUND_COLUMNS = ", ".join(f'"{column.name}"' for column in FOUND.columns)
_COLUMNS = {"run_id": "run", "run_name": "name", "status": "state", "user_id": "user"}
_TIMES = {"start_time": "started_at", "end_time": "ended_at"}
_MS = 1000
CONTEXT = "mlflow.data.context"
"""The tag of an input that says what it was read for."""


class like(FunctionElement[bool]):
    """LIKE that minds case, without escapes, on both databases."""

    inherit_cache = True


@compiles(like, "sqlite")
def _like_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"headway_like({compiler.process(element.clauses, **options)})"


@compiles(like, "postgresql")
def _like_postgres(element: Any, compiler: Any, **options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text} LIKE {pattern} ESCAPE '')"


def index_run(engine: SqlEngine, run: Run) -> None:
    """Bring what is searched up to date with the record; what it says already is not written again."""
    row = (
        run.id, run.experiment, int(run.deleted_at is not None), to_us(run.started_at or run.created_at),
        None if run.ended_at is None else to_us(run.ended_at), run.name, run.state, run.user or run.started_by,
    )  # fmt: skip
    mark = engine.mark
    found = engine.rows(f"SELECT {_FOUND_COLUMNS} FROM run_search WHERE run = {mark}", (run.id,))
    if found != [row]:
        engine.insert_rows(FOUND, [row], replace=True)
    if found and found[0][1] != run.experiment:
        engine.write(f"UPDATE curves SET experiment = {mark} WHERE run = {mark}", [(run.experiment, run.id)])
    query = f"SELECT kind, key, value FROM run_texts WHERE run = {mark}"
    kept = {(kind, key): value for kind, key, value in engine.rows(query, (run.id,))}
    wanted = dict(_texts(run))
    changed = [(run.id, kind, key, value) for (kind, key), value in wanted.items() if kept.get((kind, key)) != value]
    engine.insert_rows(TEXTS, changed, replace=True)
    removed = [(run.id, kind, key) for kind, key in kept.keys() - wanted.keys()]
    engine.write(f"DELETE FROM run_texts WHERE run = {mark} AND kind = {mark} AND key = {mark}", removed)


def _texts(run: Run) -> Iterable[tuple[tuple[str, str], str]]:
    yield from (((Kind.PARAM.value, key), value) for key, value in run.params.items())
    yield from (((Kind.TAG.value, key), value) for key, value in run.tags.items())
    for place, item in enumerate(run.inputs):
        yield ("input_name", str(place)), item.name
        yield ("input_digest", str(place)), item.digest
        yield ("input_context", str(place)), item.tags.get(CONTEXT, "")


def searched(question: RunSearch, runs: Table) -> Select[Any]:
    """The bodies of the runs that fit."""
    query = select(runs.c.body).join(FOUND, FOUND.c.run == runs.c.id)
    query = query.where(FOUND.c.experiment.in_(question.experiments))
    if question.deleted is not None:
        query = query.where(FOUND.c.deleted == int(question.deleted))
    query = query.where(*map(_condition, question.where))
    for place, order in enumerate(question.order):
        query = _ordered(query, order, place)
    query = query.order_by(FOUND.c.started_at.desc(), FOUND.c.run.desc())
    return query.limit(question.limit).offset(question.offset)


def _condition(condition: Condition) -> ColumnElement[bool]:
    field, operator = condition.field, condition.operator
    if field.kind is Kind.ATTRIBUTE:
        return _compared(_attribute(field.name), operator, condition.value)
    if field.kind is Kind.METRIC:
        same = and_(CURVES.c.run == FOUND.c.run, CURVES.c.key == field.name)
        return exists().where(same, _compared(CURVES.c.value, operator, condition.value)).correlate(FOUND)
    same = and_(TEXTS.c.run == FOUND.c.run, *_named(field))
    if operator is Operator.IS_NULL:
        return ~exists().where(same).correlate(FOUND)
    if operator is Operator.IS_NOT_NULL:
        return exists().where(same).correlate(FOUND)
    return exists().where(same, _compared(TEXTS.c.value, operator, condition.value)).correlate(FOUND)


def _named(field: Field) -> tuple[ColumnElement[bool], ...]:
    if field.kind is Kind.INPUT:
        return (TEXTS.c.kind == f"input_{field.name}",)
    return TEXTS.c.kind == field.kind.value, TEXTS.c.key == field.name


def _attribute(name: str) -> ColumnElement[Any]:
    if name in _TIMES:
        return FOUND.c[_TIMES[name]] // _MS
    return FOUND.c[_COLUMNS[name]]


def _compared(column: ColumnElement[Any], operator: Operator, value: Any) -> ColumnElement[bool]:
    plain = {
        Operator.EQUAL: column.__eq__,
        Operator.NOT_EQUAL: column.__ne__,
        Operator.GREATER: column.__gt__,
        Operator.GREATER_EQUAL: column.__ge__,
        Operator.LESS: column.__lt__,
        Operator.LESS_EQUAL: column.__le__,
        Operator.IN: column.in_,
        Operator.NOT_IN: column.not_in,
    }
    if operator is Operator.LIKE:
        return _like(column, value)
    if operator is Operator.ILIKE:
        return _like(func.lower(column), value.lower())
    return plain[operator](value)


def _like(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    return like(column, pattern)


def _ordered(query: Select[Any], order: Order, place: int) -> Select[Any]:
    """With the values to order by joined in: those that are absent last, NaN before them, in both directions."""
    field = order.field
    if field.kind is Kind.ATTRIBUTE:
        column: ColumnElement[Any] = _attribute(field.name)
        if field.name == "start_time":
            column = FOUND.c.started_at
        last: ColumnElement[Any] | None = column.is_(None) if field.name == "end_time" else None
    elif field.kind is Kind.METRIC:
        curve = CURVES.alias(f"metric_{place}")
        query = query.outerjoin(curve, and_(curve.c.run == FOUND.c.run, curve.c.key == field.name))
        column, last = curve.c.value, case((curve.c.run.is_(None), 2), (curve.c.value.is_(None), 1), else_=0)
    else:
        text = TEXTS.alias(f"text_{place}")
        same = and_(text.c.run == FOUND.c.run, text.c.kind == field.kind.value, text.c.key == field.name)
        query = query.outerjoin(text, same)
        column, last = text.c.value, text.c.value.is_(None)
    if last is not None:
        query = query.order_by(last)
    return query.order_by(column.desc() if order.descending else column)
