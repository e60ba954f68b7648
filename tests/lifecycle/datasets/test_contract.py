from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, request_violations, violations
from headway.lifecycle.datasets.schema import ColumnSummary, Kind, Summary

CONTRACT = Contract(
    columns=(
        ColumnRule(name="temp", kind=Kind.FLOAT, nulls=0.1, low=-20, high=120, median=(30, 90), unit="F"),
        ColumnRule(name="origin", kind=Kind.STR, levels=("EWR", "JFK")),
        ColumnRule(name="late", kind=Kind.INT, use=Use.LABEL),
        ColumnRule(name="note", kind=Kind.STR, required=False, use=Use.OTHER, nulls=1.0),
    ),
    min_rows=10,
)
TEMP = ColumnSummary(name="temp", kind=Kind.FLOAT, nulls=0, low=10, high=90, median=55)
ORIGIN = ColumnSummary(name="origin", kind=Kind.STR, nulls=0, levels=("JFK", "EWR"), distinct=2)
LATE = ColumnSummary(name="late", kind=Kind.INT, nulls=0, low=0, high=1, median=0)


def summary(*columns: ColumnSummary, rows: int = 100) -> Summary:
    return Summary(rows=rows, columns=columns)


TABLE = [
    (summary(TEMP, ORIGIN, LATE), []),
    (summary(TEMP, ORIGIN, LATE, rows=9), [("*", "min_rows")]),
    (summary(ORIGIN, LATE), [("temp", "required")]),
    (summary(TEMP, ORIGIN, LATE, ColumnSummary(name="x", kind=Kind.INT, nulls=0)), [("x", "closed")]),
    (summary(TEMP.but(kind=Kind.STR), ORIGIN, LATE), [("temp", "kind")]),
    (summary(TEMP.but(kind=Kind.INT), ORIGIN, LATE), []),
    (summary(TEMP, ORIGIN, LATE.but(kind=Kind.FLOAT)), [("late", "kind")]),
    (summary(TEMP.but(nulls=11), ORIGIN, LATE), [("temp", "nulls")]),
    (summary(TEMP.but(nulls=10), ORIGIN, LATE), []),
    (summary(TEMP.but(low=-21, high=121), ORIGIN, LATE), [("temp", "low"), ("temp", "high")]),
    (summary(TEMP.but(median=12.5), ORIGIN, LATE), [("temp", "median")]),
    (summary(TEMP, ORIGIN.but(levels=("JFK", "XXX")), LATE), [("origin", "levels")]),
]


@pytest.mark.parametrize(("found", "expected"), TABLE)
def test_a_table_is_held_to_every_rule(found: Summary, expected: list[tuple[str, str]]) -> None:
    broken = violations(CONTRACT, found)
    assert [(violation.column, violation.rule) for violation in broken] == expected


def test_a_change_of_unit_is_told_with_column_rule_and_values() -> None:
    (broken,) = violations(CONTRACT, summary(TEMP.but(median=12.5), ORIGIN, LATE))
    assert str(broken) == "column 'temp' breaks rule 'median': expected 30 to 90 F, found 12.5"


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"temp": [50.0], "origin": ["JFK"]}, None),
        ({"temp": [None]}, None),
        ({"temp": [float("nan")]}, None),
        ({"origin": [None]}, "nulls"),
        ({"temp": [50.0, 500.0]}, "low/high"),
        ({"origin": ["LGA"]}, "levels"),
    ],
)
def test_a_request_is_held_to_the_rules_of_a_row(columns: dict[str, list[object]], rule: str | None) -> None:
    assert [violation.rule for violation in request_violations(CONTRACT, columns)] == ([rule] if rule else [])


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(0, 1000))
def test_a_table_holds_exactly_when_no_rule_is_broken(low: float, high: float, nulls: int) -> None:
    column = TEMP.but(low=min(low, high), high=max(low, high), nulls=nulls)
    holds = column.low >= -20 and column.high <= 120 and nulls <= 100
    assert (violations(CONTRACT, summary(column, ORIGIN, LATE, rows=1000)) == []) == holds


def test_the_digest_names_the_rules() -> None:
    assert CONTRACT.digest == CONTRACT.but().digest
    assert CONTRACT.digest != CONTRACT.but(min_rows=11).digest
