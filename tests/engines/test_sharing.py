"""What a table has in common with parts that are kept: the same rows, and nothing that only looks like them."""

from __future__ import annotations

import io
import math
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.engines.tables import sharing
from headway.engines.tables.frames import PolarsInspector
from headway.engines.tables.sharing import same_rows, shared
from headway.lifecycle.datasets.inspector import Shared

NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001))[0]
CELLS = st.sampled_from([None, 0.0, -0.0, 1.5, math.nan, NAN, math.inf])
TABLES = st.lists(st.tuples(CELLS, st.sampled_from([None, "", "a", "b"])), min_size=1, max_size=12)
COLUMNS: dict[str, tuple[Any, list[Any]]] = {
    "integers": (pl.Int16, [1, None, 3]),
    "floats": (pl.Float32, [1.5, None, -0.0]),
    "texts": (pl.String, ["a", None, ""]),
    "bytes": (pl.Binary, [b"a", None, b""]),
    "levels": (pl.Categorical, ["x", None, "y"]),
    "enum": (pl.Enum(["x", "y"]), ["x", None, "y"]),
    "truths": (pl.Boolean, [True, None, False]),
    "days": (pl.Date, [date(2026, 1, 1), None, date(2026, 1, 2)]),
    "moments": (pl.Datetime("us", "UTC"), [datetime(2026, 1, 1, tzinfo=UTC), None, datetime(2026, 1, 2, tzinfo=UTC)]),
    "spans": (pl.Duration("ms"), [timedelta(1), None, timedelta(2)]),
    "hours": (pl.Time, [time(1), None, time(2)]),
    "money": (pl.Decimal(10, 2), [Decimal("1.50"), None, Decimal("2.00")]),
    "lists": (pl.List(pl.Float64), [[1.0, None], None, []]),
    "arrays": (pl.Array(pl.Int32, 2), [[1, 2], None, [3, None]]),
    "structs": (pl.Struct({"a": pl.Float64, "b": pl.List(pl.String)}), [{"a": 1.0, "b": ["x"]}, None, {"a": None}]),
    "nothing": (pl.Null, [None, None, None]),
}


def parquet(frame: pl.DataFrame, **options: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **options)
    return buffer.getvalue()


def table(rows: list[tuple[Any, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"x": pl.Float64, "y": pl.String}, orient="row")


def exactly(rows: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Floats by their bits, so that each equals itself and nothing else."""
    return [(None if x is None else struct.pack("<d", x), y) for x, y in rows]


@given(TABLES, st.lists(st.integers(0, 12), max_size=3), TABLES, st.integers(0, 12))
def test_whatever_is_shared_with_the_rest_is_the_table(
    before: list[tuple[Any, Any]], cuts: list[int], edit: list[tuple[Any, Any]], keep: int
) -> None:
    edges = [0, *sorted(min(cut, len(before)) for cut in cuts), len(before)]
    parts = [before[start:end] for start, end in pairwise(edges)]
    after = before[:keep] + edit
    found = shared([parquet(table(part)) for part in parts], parquet(table(after)))
    together = [row for part in parts[: found.parts] for row in part]
    rest = pl.read_parquet(found.rest).rows() if found.rest else []
    assert len(rest) == found.rest_rows
    if found.parts:
        assert exactly(together + rest) == exactly(after)
    expected, rows = 0, []
    for part in parts:
        rows += part
        if exactly(rows) != exactly(after[: len(rows)]):
            break
        expected += 1
    assert found.parts == expected


@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_is_shared_and_comes_back(name: str) -> None:
    dtype, values = COLUMNS[name]
    part = pl.DataFrame({name: pl.Series(values, dtype=dtype)})
    whole = pl.read_parquet(parquet(pl.DataFrame({name: pl.Series(values[::-1] + values, dtype=dtype)})))
    first, data = parquet(whole.head(3)), parquet(whole)
    found = shared([first], data)
    assert (found.parts, found.rest_rows) == (1, 3)
    joined = pl.read_parquet(PolarsInspector().joined([first, found.rest]))
    assert same_rows(joined, whole)
    assert shared([parquet(part)], data).parts == int(same_rows(pl.read_parquet(parquet(part)), whole.head(3)))
    if name != "nothing":
        assert not same_rows(part, part.reverse().shift(1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Series([0.0]), pl.Series([-0.0])),
        (pl.Series([math.nan]), pl.Series([NAN])),
        (pl.Series([math.nan]), pl.Series([None], dtype=pl.Float64)),
        (pl.Series([[0.0]]), pl.Series([[-0.0]])),
        (pl.Series([{"a": 0.0}]), pl.Series([{"a": -0.0}])),
        (pl.Series([[]], dtype=pl.List(pl.Int64)), pl.Series([[None]], dtype=pl.List(pl.Int64))),
        (pl.Series([[1], [2, 3]]), pl.Series([[1, 2], [3]])),
        (pl.Series([1], dtype=pl.Int32), pl.Series([1], dtype=pl.Int64)),
        (pl.Series(["a"]), pl.Series(["a"], dtype=pl.Categorical)),
    ],
)
def test_what_only_looks_alike_is_not_shared(one: pl.Series, other: pl.Series) -> None:
    assert same_rows(one.to_frame("x"), one.to_frame("x"))
    assert not same_rows(one.to_frame("x"), other.to_frame("x"))
    assert shared([parquet(one.to_frame("x"))], parquet(other.to_frame("x"))) == Shared()


def test_columns_in_another_order_or_under_other_names_are_others() -> None:
    frame = pl.DataFrame({"x": [1], "y": [1]})
    assert not same_rows(frame, frame.select("y", "x"))
    assert not same_rows(frame, frame.rename({"y": "z"}))


def test_a_footer_with_something_of_its_own_is_kept() -> None:
    frame = pl.DataFrame({"x": [1, 2]})
    assert shared([parquet(frame.head(1))], parquet(frame)).parts == 1
    assert shared([parquet(frame.head(1))], parquet(frame, metadata={"licence": "CC0"})) == Shared()


def test_what_could_not_be_put_together_again_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"x": range(1000)})
    monkeypatch.setattr(sharing, "MOST_ANSWER_BYTES", 7999)
    assert shared([parquet(frame.head(1))], parquet(frame)) == Shared()
    monkeypatch.setattr(sharing, "MOST_ANSWER_BYTES", 8000)
    assert shared([parquet(frame.head(1))], parquet(frame)).parts == 1
