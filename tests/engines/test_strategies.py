"""Tables made from a contract keep it, and those made to break a rule break that one and no other."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.tables.frames import summary_of
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, violations
from headway.lifecycle.datasets.schema import Kind
from headway.testing.strategies import broken_tables, tables

CONTRACT = Contract(
    columns=(
        ColumnRule(name="km", kind=Kind.FLOAT, low=0.5, high=2000, nulls=0.2, unit="km"),
        ColumnRule(name="count", kind=Kind.INT, low=-3, high=1.5, median=(-2, 1)),
        ColumnRule(name="free", kind=Kind.FLOAT),
        ColumnRule(name="carrier", kind=Kind.STR, levels=("AA", "UA")),
        ColumnRule(name="note", kind=Kind.STR, use=Use.OTHER, nulls=1.0),
        ColumnRule(name="early", kind=Kind.BOOL),
        ColumnRule(name="at", kind=Kind.TIME, use=Use.TIME),
    ),
    min_rows=25,
)
DTYPES: dict[str, Any] = {"km": pl.Float64, "count": pl.Int64, "free": pl.Float64, "carrier": pl.String,
                          "note": pl.String, "early": pl.Boolean, "at": pl.Datetime("us", "UTC")}  # fmt: skip
BREAKABLE = [
    ("km", "required"), ("km", "nulls"), ("km", "low"), ("km", "high"), ("count", "low"), ("count", "high"),
    ("carrier", "levels"), ("carrier", "nulls"), ("at", "required"), ("another", "closed"),
]  # fmt: skip


def broken(table: dict[str, list[Any]]) -> set[tuple[str, str]]:
    frame = pl.DataFrame(table, schema_overrides={name: DTYPES[name] for name in table if name in DTYPES})
    return {(each.column, each.rule) for each in violations(CONTRACT, summary_of(frame))}


@given(tables(CONTRACT))
@settings(max_examples=60, deadline=None)
def test_tables_keep_every_rule(table: dict[str, list[Any]]) -> None:
    assert {len(values) for values in table.values()} == {25}
    assert broken(table) == set()


@pytest.mark.parametrize(("column", "rule"), BREAKABLE)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_rule_is_broken_and_no_other(column: str, rule: str, data: st.DataObject) -> None:
    assert broken(data.draw(broken_tables(CONTRACT, column, rule))) == {(column, rule)}


@pytest.mark.parametrize(("column", "rule"), [("free", "low"), ("km", "levels"), ("note", "nulls"), ("x", "low")])
def test_a_rule_that_is_not_there(column: str, rule: str) -> None:
    with pytest.raises(Invalid):
        broken_tables(CONTRACT, column, rule)


def test_a_column_of_which_nothing_can_be_made() -> None:
    with pytest.raises(Invalid, match="give the column a kind"):
        tables(Contract(columns=(ColumnRule(name="odd", kind=Kind.OTHER),)))
