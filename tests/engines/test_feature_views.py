"""The point-in-time join against its meaning spelled out, and lookups against the join."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.client.frames import parquet_of
from headway.engines.feature_views.joining import joined
from headway.engines.feature_views.latest import latest_of
from headway.engines.feature_views.snapshots import Snapshot, packed
from headway.errors import Invalid
from headway.lifecycle.feature_views.records import DefineFeatures, Feature, OnlineRow
from headway.lifecycle.feature_views.rules import entity_key

START = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = DefineFeatures(
    name="customers", source="orders", entity=("customer",), event_time="at", known_at="seen",
    features=(Feature(name="amount"), Feature(name="per_night", expression="amount / nights")),
)  # fmt: skip
PLAIN = VIEW.but(known_at="")


def moment(hours: int | None) -> datetime | None:
    return None if hours is None else START + timedelta(hours=hours)


def source(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Rows of customer, hour of the event, hours until it was known, amount."""
    schema = {"customer": pl.Int64, "at": pl.Datetime("us", "UTC"), "seen": pl.Datetime("us", "UTC"),
              "amount": pl.Float64, "nights": pl.Int64}  # fmt: skip
    told = [
        (customer, moment(at), None if at is None or late is None else moment(at + late), amount, 2)
        for customer, at, late, amount in rows
    ]
    return pl.DataFrame(told, schema=schema, orient="row")


def asked(*rows: tuple[int | None, int | None]) -> pl.DataFrame:
    told = [(customer, moment(hour)) for customer, hour in rows]
    return pl.DataFrame(told, schema={"customer": pl.Int64, "when": pl.Datetime("us", "UTC")}, orient="row")


def meant(rows: list[tuple[Any, ...]], customer: Any, hour: int | None, ttl_h: float | None, known: bool) -> Any:
    """The amount by the words of `history`, one row after the other."""
    best: tuple[Any, ...] | None = None
    for place, (who, at, late, amount) in enumerate(rows):
        if None in (who, at, hour) or (known and late is None) or who != customer:
            continue
        usable = max(at, at + late) if known else at
        order = (at, at + late if known else 0, place)
        if usable <= hour and (best is None or order > best[0]):
            best = (order, at, amount)
    if best is None or (ttl_h is not None and hour - best[1] > ttl_h):
        return None
    return best[2]


_HOURS = st.integers(0, 12)
_ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, None]),
        st.none() | _HOURS,
        st.none() | st.integers(-2, 8),
        st.none() | st.integers(0, 99),
    ),
    max_size=14,
)
_ASKED = st.lists(st.tuples(st.sampled_from([1, 2, 3, None]), st.none() | _HOURS), min_size=1, max_size=12)


@given(rows=_ROWS, questions=_ASKED, ttl_h=st.none() | st.integers(1, 6), known=st.booleans())
@settings(max_examples=150, deadline=None)
def test_each_row_gets_what_was_known_then(rows: Any, questions: Any, ttl_h: int | None, known: bool) -> None:
    view = (VIEW if known else PLAIN).but(ttl_s=None if ttl_h is None else ttl_h * 3600.0)
    spine = asked(*questions)
    got = joined(spine, "when", [(view, source(*rows))])
    assert got.columns == ["customer", "when", "amount", "per_night"]
    assert got.select(spine.columns).equals(spine)
    expected = [meant(rows, customer, hour, ttl_h, known) for customer, hour in questions]
    assert got["amount"].to_list() == expected
    assert got["per_night"].to_list() == [None if amount is None else amount / 2 for amount in expected]


@given(rows=_ROWS, hour=_HOURS, known=st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_is_looked_up_is_what_the_join_gives_to_a_row_of_that_moment(rows: Any, hour: int, known: bool) -> None:
    view = VIEW if known else PLAIN
    frame = source(*rows)
    latest = latest_of(parquet_of(frame), view, START + timedelta(hours=hour))
    online = {entity_key(row.entity): row.values for row in latest.rows}
    got = joined(asked((1, hour), (2, hour)), "when", [(view, frame)])
    for customer, *values in got.select("customer", "amount", "per_night").iter_rows():
        assert online.get(entity_key((customer,)), (None, None)) == tuple(values)
    usable = [
        max(at, at + late) if known else at
        for who, at, late, _ in rows
        if who is not None and at is not None and (late is not None or not known)
    ]
    assert latest.incomplete == len(rows) - len(usable)
    assert latest.ahead == sum(each > hour for each in usable)


def test_several_views_by_several_keys_keep_the_rows_as_they_are() -> None:
    rows = pl.DataFrame({"shop": ["b", "a", "b"], "customer": [1, 2, 1], "when": [moment(5), moment(1), moment(9)]})
    shops = pl.DataFrame({"shop": ["a", "b", "b"], "at": [moment(0), moment(2), moment(7)], "size": [1, 2, 3]})
    pairs = pl.DataFrame({"shop": ["b"], "customer": [1], "at": [moment(6)], "seen": [None], "visits": [4]})
    views = [
        (DefineFeatures(name="shops", source="s", entity=("shop",), event_time="at",
                        features=(Feature(name="size"),)), shops),
        (DefineFeatures(name="pairs", source="p", entity=("shop", "customer"), event_time="at",
                        features=(Feature(name="visits"),)), pairs),
    ]  # fmt: skip
    got = joined(rows, "when", views)
    assert got.to_dict(as_series=False) == rows.to_dict(as_series=False) | {
        "size": [2, 1, 3], "visits": [None, None, 4],
    }  # fmt: skip


def test_times_without_a_zone_are_utc_and_others_are_converted() -> None:
    berlin = pl.Series([datetime(2026, 1, 1, 6), datetime(2026, 1, 1, 8)]).dt.replace_time_zone("Europe/Berlin")
    frame = pl.DataFrame({"customer": [1, 1], "at": berlin, "amount": [1.0, 2.0], "nights": [1, 1]})
    rows = pl.DataFrame({"customer": [1, 1], "when": [datetime(2026, 1, 1, 6), datetime(2026, 1, 1, 7)]})
    assert joined(rows, "when", [(PLAIN, frame)])["amount"].to_list() == [1.0, 2.0]  # 05:00 and 07:00 in UTC


def test_keys_of_other_widths_are_the_same_and_others_are_refused() -> None:
    rows = asked((1, 3)).cast({"customer": pl.Int16})
    assert joined(rows, "when", [(PLAIN, source((1, 0, 0, 5.0)))])["amount"].to_list() == [5.0]
    with pytest.raises(Invalid, match="'customer' is str in the rows and int in the source"):
        joined(rows.cast({"customer": pl.String}), "when", [(PLAIN, source((1, 0, 0, 5.0)))])


def test_what_is_not_finite_is_nothing() -> None:
    frame = source((1, 0, 0, float("nan")), (2, 0, 0, float("inf")))
    assert joined(asked((1, 1), (2, 1)), "when", [(PLAIN, frame)])["amount"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"entity": ("costumer",)}, "no column 'costumer'; did you mean 'customer'"),
        ({"event_time": "amount"}, "'amount' is to hold times, but holds Float64"),
        ({"features": (Feature(name="amuont"),)}, "no column 'amuont'; did you mean 'amount'"),
        ({"features": (Feature(name="seen"),)}, "'seen' holds Datetime"),
        ({"features": (Feature(name="x", expression="amount +"),)}, "feature 'x': 'amount \\+'"),
        ({"features": (Feature(name="x", expression="amuont * 2"),)}, "cannot be computed: .*amuont"),
        ({"features": (Feature(name="x", expression="SUM(amount)"),)}, "its own row alone"),
        ({"features": (Feature(name="x", expression="SUM(amount) OVER (PARTITION BY customer)"),)}, "its own row"),
        ({"features": (Feature(name="x", expression="LAG(amount) OVER (ORDER BY nights)"),)}, "its own row"),
        ({"features": (Feature(name="x", expression="amount IN (select 1)"),)}, "feature 'x': .* no query"),
    ],
)
def test_what_a_source_cannot_give_is_told(changes: dict[str, Any], told: str) -> None:
    view, frame = PLAIN.but(**changes), source((1, 0, 0, 5.0), (1, 1, 0, 6.0), (2, 1, 0, 7.0))
    spine = asked((1, 3)).with_columns(costumer=1)
    with pytest.raises(Invalid, match=told):
        joined(spine, "when", [(view, frame)])
    with pytest.raises(Invalid, match=told):
        latest_of(parquet_of(frame), view, START)


@pytest.mark.parametrize(
    ("rows", "time", "told"),
    [
        (asked((1, 3)), "wehn", "no column 'wehn'; did you mean 'when'"),
        (asked((1, 3)).rename({"customer": "c"}), "when", "no column 'customer'"),
        (asked((1, 3)).with_columns(amount=1), "when", "two columns 'amount'"),
    ],
)
def test_rows_that_cannot_be_joined(rows: pl.DataFrame, time: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        joined(rows, time, [(PLAIN, source((1, 0, 0, 5.0)))])


def test_rows_are_found_in_their_file_as_they_were(tmp_path: Path) -> None:
    rows = {
        entity_key(row.entity): row
        for row in (
            OnlineRow(entity=(1, "ü'\"\n"), event_at=START, values=(0.1 + 0.2, None, True, 2**60, 1.0)),
            OnlineRow(entity=(1.0, "b"), event_at=moment(1) or START, values=(-0.0, "x", False, 1, 5e-324)),
            OnlineRow(entity=("1", "b"), event_at=START, values=(None,) * 5),
        )
    }  # fmt: skip
    data = packed(rows)
    assert data == packed(dict(reversed(rows.items()))), "the same rows are the same file"
    path = tmp_path / "a file?#.db"
    path.write_bytes(data)
    snapshot = Snapshot(path)
    path.unlink()
    try:
        for key, row in rows.items():
            found = snapshot.find(key)
            assert found == row
            assert [(type(each), repr(each)) for each in found.values] == [(type(e), repr(e)) for e in row.values]
        assert snapshot.find(entity_key((1, "b"))) == rows[entity_key((1.0, "b"))]
        assert snapshot.find(entity_key((2, "b"))) is None
    finally:
        snapshot.close()
    assert packed({}).startswith(b"SQLite format 3")
