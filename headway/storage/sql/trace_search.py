"""What is searched of traces in SQL: one narrow row per trace, and one per tag and metadata entry of it.

A search walks the traces of an experiment by their begin, and leaves out what surely does not fit: what is asked of
their spans, their assessments or long texts is for whoever reads them to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import BigInteger, Column, ColumnElement, Index, Select, Table, and_, literal, or_, select, tuple_

from headway.lifecycle.runs.search import Condition, Kind, Operator
from headway.lifecycle.runs.traces import Trace, TraceWalk, began_ms, metadata_of, name_of, state_of
from headway.storage.sql.engine import SqlEngine
from headway.storage.sql.searching import compared
from headway.storage.sql.tables import METADATA, TEXT

TRACE_SEARCH = Table(
    "trace_search",
    METADATA,
    Column("trace", TEXT, primary_key=True),
    Column("experiment", TEXT, nullable=False),
    Column("deleted", BigInteger, nullable=False),
    Column("began_ms", BigInteger, nullable=False),
    Column("request", TEXT, nullable=False),
    Column("status", TEXT),
    Column("name", TEXT),
    Index("trace_search_newest", "experiment", "deleted", "began_ms", "trace"),
)
TRACE_TEXTS = Table(
    "trace_texts",
    METADATA,
    Column("trace", TEXT, primary_key=True),
    Column("kind", TEXT, primary_key=True),
    Column("key", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    Index("trace_texts_by_value", "kind", "key", "value", "trace"),
    sqlite_with_rowid=False,
)
"""`kind` is tag or metadata; texts of more than `LONGEST` characters are not here."""
LONGEST = 250
_COLUMNS = {"timestamp_ms": "began_ms", "request_id": "request", "status": "status", "name": "name"}
_PLAIN = frozenset(Operator) - {Operator.IS_NULL, Operator.IS_NOT_NULL}


def index_trace(engine: SqlEngine, trace: Trace, before: Trace | None) -> None:
    """Bring what is searched up to date with the record; what it says already, of the trace as it was `before`, is not
    written again."""
    mark, row = engine.mark, _row(trace)
    if before is None or _row(before) != row:
        engine.insert_rows(TRACE_SEARCH, [row], replace=True)
    kept, wanted = {} if before is None else dict(_texts(before)), dict(_texts(trace))
    changed = [(trace.id, *name, text) for name, text in wanted.items() if kept.get(name) != text]
    engine.insert_rows(TRACE_TEXTS, changed, replace=True)
    removed = [(trace.id, *name) for name in kept.keys() - wanted.keys()]
    engine.write(f"DELETE FROM trace_texts WHERE trace = {mark} AND kind = {mark} AND key = {mark}", removed)


def _row(trace: Trace) -> tuple[str | int | None, ...]:
    deleted = int(trace.deleted_at is not None)
    state, name = (None if text is None else written(text) for text in (state_of(trace), name_of(trace)))
    return trace.id, trace.experiment, deleted, began_ms(trace), trace.request, state, name


def _texts(trace: Trace) -> Iterable[tuple[tuple[str, str], str]]:
    for kind, texts in ((Kind.TAG, trace.tags), (Kind.METADATA, metadata_of(trace))):
        for key, text in texts.items():
            if isinstance(text, str) and len(key) <= LONGEST and len(text) <= LONGEST:
                yield (kind.value, written(key)), written(text)


def written(text: str) -> str:
    """As it can be kept in a column of either database."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def walking(question: TraceWalk) -> Select[tuple[str, int]]:
    """The ids of a stretch of traces, and when they began."""
    found = TRACE_SEARCH.c
    names = question.experiments
    query = select(found.trace, found.began_ms).where(found.deleted == 0)
    query = query.where(found.experiment == names[0] if len(names) == 1 else found.experiment.in_(names))
    query = query.where(*(_surely(condition) for condition in question.where))
    place = tuple_(found.began_ms, found.trace)
    if question.behind is not None:
        behind = tuple_(*map(literal, question.behind))
        query = query.where(place < behind if question.descending else _later(question.behind))
    if question.descending:
        return query.order_by(found.began_ms.desc(), found.trace.desc()).limit(question.limit)
    return query.order_by(found.began_ms, found.trace.desc()).limit(question.limit)


def _later(behind: tuple[int, str]) -> ColumnElement[bool]:
    """Rising in time, and among those of one millisecond the newest first, as in every order."""
    found, (began, trace) = TRACE_SEARCH.c, behind
    return and_(found.began_ms >= began, or_(found.began_ms > began, found.trace < trace))


def _surely(condition: Condition) -> ColumnElement[bool]:
    """What holds for every trace that fits, as far as it can be said of what is here."""
    field, operator, value = condition.field, condition.operator, condition.value
    if field.kind is Kind.ATTRIBUTE and field.name in _COLUMNS and operator in _PLAIN:
        column = TRACE_SEARCH.c[_COLUMNS[field.name]]
        if field.name == "timestamp_ms":
            return compared(column, operator, value)
        if operator in (Operator.NOT_EQUAL, Operator.NOT_IN):
            return column.is_not(None)
        return compared(column, operator, _written(value))
    if field.kind in (Kind.TAG, Kind.METADATA) and operator in (Operator.EQUAL, Operator.IN):
        among = [value] if isinstance(value, str) else value
        if isinstance(among, list | tuple) and all(len(text) <= LONGEST for text in (field.name, *among)):
            texts = TRACE_TEXTS.c
            same = and_(texts.kind == field.kind.value, texts.key == written(field.name))
            return TRACE_SEARCH.c.trace.in_(
                select(texts.trace).where(same, texts.value.in_([written(text) for text in among]))
            )
    return literal(value=True)


def _written(value: Sequence[str] | str | float | None) -> Sequence[str] | str | float | None:
    if isinstance(value, str):
        return written(value)
    return tuple(map(written, value)) if isinstance(value, tuple) else value
