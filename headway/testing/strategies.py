"""Test data from a contract: hypothesis strategies of tables that keep it, and of tables that break one rule of it.

@given(tables(contract))
def test_my_step(table): ...
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from headway.errors import Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract
from headway.lifecycle.datasets.schema import Kind

_INT64 = (-(2**63), 2**63 - 1)
_FLOAT32 = 3.4e38
_FIRST, _LAST = datetime(2000, 1, 1), datetime(2040, 1, 1)
_BREAKABLE = ("required", "nulls", "low", "high", "levels", "closed")

Columns = dict[str, list[Any]]


def tables(contract: Contract, *, rows: int = 20) -> st.SearchStrategy[Columns]:
    """Columns (name -> values, `rows` of them or `min_rows`, if that is more) that keep every rule.

    Raises `Invalid` for a column of a kind that nothing can be made of.
    """
    count = max(rows, contract.min_rows)
    return st.fixed_dictionaries({rule.name: _column(rule, count) for rule in contract.columns})


def broken_tables(contract: Contract, column: str, rule: str, *, rows: int = 20) -> st.SearchStrategy[Columns]:
    """As `tables`, but breaking `rule` of `column`: required, nulls, low, high, levels, or closed by a new column.

    Raises `Invalid` where the contract has no such rule.
    """
    broken = next((each for each in contract.columns if each.name == column), None)
    if rule == "closed" and contract.closed and broken is None:
        return tables(contract, rows=rows).map(lambda table: {**table, column: [0] * len(next(iter(table.values())))})
    if broken is None:
        raise Invalid(f"the contract has no column {column!r}")
    count = max(rows, contract.min_rows)
    value = _breaking(broken, rule)

    def broke(table: Columns, place: int, wrong: Any) -> Columns:
        if rule == "required":
            return {name: values for name, values in table.items() if name != column}
        if rule == "nulls":
            return {**table, column: [None] * count}
        return {**table, column: [wrong if at == place else each for at, each in enumerate(table[column])]}

    return st.builds(broke, tables(contract, rows=rows), st.integers(0, count - 1), value)


def _column(rule: ColumnRule, count: int) -> st.SearchStrategy[list[Any]]:
    """Nulls are as many as may be at most; a median is held by what stands on both sides of its range's middle."""
    value = _value(rule)
    columns = st.lists(value, min_size=count, max_size=count)
    if rule.median is not None:
        columns = st.lists(_between(rule, *rule.median), min_size=count, max_size=count)
    nulls = int(rule.nulls * count)
    if not nulls:
        return columns
    return st.builds(_with_nulls, columns, st.sets(st.integers(0, count - 1), max_size=nulls))


def _with_nulls(values: list[Any], places: set[int]) -> list[Any]:
    return [None if at in places else value for at, value in enumerate(values)]


def _value(rule: ColumnRule) -> st.SearchStrategy[Any]:
    match rule.kind:
        case Kind.INT | Kind.FLOAT:
            return _between(rule, rule.low, rule.high)
        case Kind.BOOL:
            return st.booleans()
        case Kind.STR if rule.levels is not None:
            return st.sampled_from(rule.levels)
        case Kind.STR:
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
        case Kind.TIME:
            return st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))
    raise Invalid(f"column {rule.name!r} is {rule.kind}: nothing can be made of that; give the column a kind")


def _between(rule: ColumnRule, low: float | None, high: float | None) -> st.SearchStrategy[Any]:
    if rule.kind is Kind.INT:
        least = _INT64[0] if low is None else max(_INT64[0], -int(-low // 1))
        return st.integers(least, _INT64[1] if high is None else min(_INT64[1], int(high // 1)))
    least_float, most = -_FLOAT32 if low is None else low, _FLOAT32 if high is None else high
    return st.floats(least_float, most, allow_nan=False, allow_infinity=False)


def _breaking(rule: ColumnRule, name: str) -> st.SearchStrategy[Any]:
    """A value that breaks the rule; anything at all where it is not broken by a value."""
    if name == "low" and rule.low is not None:
        return st.just(rule.low - 1 if rule.kind is Kind.FLOAT else int(rule.low // 1) - 1)
    if name == "high" and rule.high is not None:
        return st.just(rule.high + 1 if rule.kind is Kind.FLOAT else int(-(-rule.high // 1)) + 1)
    if name == "levels" and rule.levels is not None:
        return st.text("xyz", min_size=1).filter(lambda text: text not in (rule.levels or ()))
    if (name == "required" and rule.required) or (name == "nulls" and rule.nulls < 1):
        return st.none()
    raise Invalid(
        f"column {rule.name!r} has no rule {name!r} that a table could break; it may be {', '.join(_BREAKABLE)}"
    )
