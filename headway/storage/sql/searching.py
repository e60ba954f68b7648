"""The questions of run searches in SQL: what a page costs follows the experiment and the page, not the database.

The runs of an experiment lie in an index by their start, and the last values of its metrics in one by key and value.
Ordered by a metric, a search walks the latter and meets the numbers first; then come those whose value is NaN, then
those without the metric: three questions, the next asked only when the page is not full. Every other condition is
looked up by its key. A page begins behind the place where the one before ended, whatever was written meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from headway.kernel.paging import ABSENT, NAN, Place, page_token, place_in
from headway.lifecycle.runs.search import Condition, Field, Kind, Operator, Order, RunSearch
from headway.storage.sql.metrics import CURVES
from headway.storage.sql.search import FOUND, TEXTS

_COLUMNS = {"run_id": "run", "run_name": "name", "status": "state", "user_id": "user"}
_TIMES = {"start_time": "started_at", "end_time": "ended_at"}
_MS = 1000
_NEWEST = Order(field=Field(kind=Kind.ATTRIBUTE, name="start_time"), descending=True)


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


class Found(NamedTuple):
    """The runs of a page in their order, and the token of the page behind it."""

    runs: list[str]
    next: str | None


class _Key(NamedTuple):
    """One thing to order by. `rank` is 0, `NAN` or `ABSENT`, and None where there always is a value."""

    value: ColumnElement[Any]
    rank: ColumnElement[int] | None
    descending: bool


class _Part(NamedTuple):
    """Runs that follow each other in the whole answer: all of them, or those with this rank in the first order."""

    query: Select[Any]
    keys: list[_Key]
    rank: int | None = None

    @property
    def prefix(self) -> Place:
        """What their places have in common."""
        return ((self.rank, None),) if self.rank else ()


def found(connection: Connection, question: RunSearch) -> Found:
    """Answer a search; raises `Invalid` for a token that another one gave."""
    last = place_in(question.after, question.asked) if question.after else None
    rows: list[tuple[str, Place]] = []
    for part in _parts(question):
        behind = None
        if last is not None and part.rank is not None and part.rank < last[0][0]:
            continue
        if last is not None and part.rank in (None, last[0][0]):
            behind = last[len(part.prefix) :]
        query = _paged(part, behind).limit(question.limit + 1 - len(rows))
        rows += ((row[0], part.prefix + _place(row)) for row in connection.execute(query).all())
        if len(rows) > question.limit:
            break
    page = rows[: question.limit]
    token = page_token(question.asked, page[-1][1]) if len(rows) > question.limit else None
    return Found([run for run, _ in page], token)


def counted(question: RunSearch) -> Select[Any]:
    """How many runs fit, on all pages together."""
    return _asked(select(func.count()).select_from(FOUND), question, FOUND)


def _parts(question: RunSearch) -> Iterator[_Part]:
    orders = question.order[:-1] if question.order[-1:] == (_NEWEST,) else question.order
    if not orders or orders[0].field.kind is not Kind.METRIC:
        yield _joined(_asked(select(FOUND.c.run), question, FOUND), [], orders)
        return
    first, rest = orders[0], orders[1:]
    curve, key = CURVES.alias("first"), first.field.name
    by_value = select(FOUND.c.run).select_from(curve).join(FOUND, FOUND.c.run == curve.c.run)
    by_value = _asked(by_value.where(curve.c.key == key), question, curve)
    numbers = by_value.where(curve.c.value.is_not(None))
    yield _joined(numbers, [_Key(curve.c.value, None, first.descending)], rest, 0)
    if any(condition.field == first.field for condition in question.where):
        return  # what is NaN, and what is absent, fits no comparison
    yield _joined(by_value.where(curve.c.value.is_(None)), [], rest, NAN)
    without = ~exists().where(CURVES.c.run == FOUND.c.run, CURVES.c.key == key).correlate(FOUND)
    yield _joined(_asked(select(FOUND.c.run), question, FOUND).where(without), [], rest, ABSENT)


def _asked(query: Select[Any], question: RunSearch, source: Any) -> Select[Any]:
    """With the experiments and the conditions; those on the metric that `source` holds are put to it."""
    names = question.experiments
    query = query.where(source.c.experiment == names[0] if len(names) == 1 else source.c.experiment.in_(names))
    if question.deleted is not None:
        query = query.where(FOUND.c.deleted == int(question.deleted))
    by_metric = None if source is FOUND else question.order[0].field
    for condition in question.where:
        if condition.field == by_metric:
            query = query.where(compared(source.c.value, condition.operator, condition.value))
        else:
            query = query.where(_condition(condition, names))
    return query


def _condition(condition: Condition, experiments: Sequence[str]) -> ColumnElement[bool]:
    field, operator = condition.field, condition.operator
    if field.kind is Kind.ATTRIBUTE:
        return compared(_attribute(field.name), operator, condition.value)
    if field.kind is Kind.METRIC:
        fitting = select(CURVES.c.run).where(CURVES.c.experiment.in_(experiments), CURVES.c.key == field.name)
        return FOUND.c.run.in_(fitting.where(compared(CURVES.c.value, operator, condition.value)))
    same = and_(TEXTS.c.run == FOUND.c.run, *_named(field))
    if operator is Operator.IS_NULL:
        return ~exists().where(same).correlate(FOUND)
    if operator is Operator.IS_NOT_NULL:
        return exists().where(same).correlate(FOUND)
    return exists().where(same, compared(TEXTS.c.value, operator, condition.value)).correlate(FOUND)


def _named(field: Field) -> tuple[ColumnElement[bool], ...]:
    if field.kind is Kind.INPUT:
        return (TEXTS.c.kind == f"input_{field.name}",)
    return TEXTS.c.kind == field.kind.value, TEXTS.c.key == field.name


def _attribute(name: str) -> ColumnElement[Any]:
    if name in _TIMES:
        return FOUND.c[_TIMES[name]] // _MS
    return FOUND.c[_COLUMNS[name]]


def compared(column: ColumnElement[Any], operator: Operator, value: Any) -> ColumnElement[bool]:
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
        return like(column, value)
    if operator is Operator.ILIKE:
        return like(func.lower(column), value.lower())
    return plain[operator](value)


def _joined(query: Select[Any], keys: list[_Key], orders: Sequence[Order], part_rank: int | None = None) -> _Part:
    """With the values of further orders joined in."""
    for place, order in enumerate(orders):
        field = order.field
        if field.kind is Kind.ATTRIBUTE:
            column = FOUND.c.started_at if field.name == "start_time" else _attribute(field.name)
            rank = case((column.is_(None), ABSENT), else_=0) if field.name == "end_time" else None
        elif field.kind is Kind.METRIC:
            curve = CURVES.alias(f"metric_{place}")
            query = query.outerjoin(curve, and_(curve.c.run == FOUND.c.run, curve.c.key == field.name))
            column, rank = curve.c.value, case((curve.c.run.is_(None), ABSENT), (curve.c.value.is_(None), NAN), else_=0)
        else:
            text = TEXTS.alias(f"text_{place}")
            same = and_(text.c.run == FOUND.c.run, text.c.kind == field.kind.value, text.c.key == field.name)
            query = query.outerjoin(text, same)
            column, rank = text.c.value, case((text.c.value.is_(None), ABSENT), else_=0)
        keys = [*keys, _Key(column, rank, order.descending)]
    return _Part(query, keys, part_rank)


def _paged(part: _Part, behind: Place | None) -> Select[Any]:
    """In order, from behind a place on, and with what the place of each run is told from."""
    query = part.query
    for key in part.keys:
        query = query.add_columns(literal(0) if key.rank is None else key.rank, key.value)
        if key.rank is not None:
            query = query.order_by(key.rank)
        query = query.order_by(key.value.desc() if key.descending else key.value)
    if behind is not None:
        query = query.where(*_behind(part.keys, behind))
    return query.add_columns(FOUND.c.started_at).order_by(FOUND.c.started_at.desc(), FOUND.c.run.desc())


def _place(row: Row[Any]) -> Place:
    values: list[Any] = list(row[1:-1])
    pairs = zip(values[::2], values[1::2], strict=True)
    return (*((rank, None if rank else value) for rank, value in pairs), (0, row[-1]), (0, row[0]))


def _behind(keys: Sequence[_Key], place: Place) -> Iterator[ColumnElement[bool]]:
    *firsts, (_, started_at), (_, run) = place
    later = tuple_(FOUND.c.started_at, FOUND.c.run) < tuple_(literal(started_at), literal(run))
    for key, (rank, value) in reversed(list(zip(keys, firsts, strict=True))):
        later = or_(_beyond(key, rank, value), and_(_equal(key, rank, value), later))
    yield later
    if keys and keys[0].rank is None:  # says nothing new, but an index can begin there
        value = firsts[0][1]
        yield keys[0].value <= value if keys[0].descending else keys[0].value >= value


def _beyond(key: _Key, rank: int, value: Any) -> ColumnElement[bool]:
    if key.rank is not None and rank:
        return key.rank > rank
    further = key.value < value if key.descending else key.value > value
    return further if key.rank is None else or_(further, key.rank > 0)


def _equal(key: _Key, rank: int, value: Any) -> ColumnElement[bool]:
    return key.rank == rank if key.rank is not None and rank else key.value == value
