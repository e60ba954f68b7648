"""Tables and segments that came as bytes: what is found in them, and what is refused."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.engines.tables.frames import (
    LATENCY_BOUNDS_US,
    PolarsInspector,
    PolarsSegmentReader,
    columns_of,
    features_of,
    read_table,
    summary_of,
)
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use, violations
from headway.lifecycle.datasets.profile import NumericProfile, merge_all
from headway.lifecycle.datasets.profiling import profile
from headway.lifecycle.datasets.reference import read_reference
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.rollouts.records import TOLERANCES

START = datetime(2024, 5, 1, 22, 0, tzinfo=UTC)


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def orders(rows: int = 100) -> pl.DataFrame:
    """One row an hour from two hours before midnight; every tenth amount is NaN, every fourth shop is missing."""
    place = np.arange(rows)
    return pl.DataFrame(
        {
            "at": [START + timedelta(hours=int(hour)) for hour in place],
            "amount": np.where(place % 10 == 0, np.nan, place * 0.1),
            "visits": place % 5,
            "member": place % 2 == 0,
            "shop": [None if at % 4 == 0 else ("north" if at % 3 else "south") for at in place],
            "tags": [["a"]] * rows,
        }
    )


CONTRACT = Contract(
    columns=(
        ColumnRule(name="at", kind=Kind.TIME, use=Use.TIME),
        ColumnRule(name="amount", kind=Kind.FLOAT, nulls=0.2),
        ColumnRule(name="visits", kind=Kind.INT),
        ColumnRule(name="member", kind=Kind.BOOL),
        ColumnRule(name="shop", kind=Kind.STR, nulls=0.3),
        ColumnRule(name="tags", kind=Kind.OTHER, use=Use.OTHER),
        ColumnRule(name="not there", kind=Kind.INT, required=False),
    )
)


def test_a_summary_says_what_a_contract_asks() -> None:
    summary = PolarsInspector().summarise(parquet(orders()))
    found = {column.name: column for column in summary.columns}
    assert {name: column.kind for name, column in found.items()} == {
        "at": Kind.TIME, "amount": Kind.FLOAT, "visits": Kind.INT, "member": Kind.BOOL, "shop": Kind.STR,
        "tags": Kind.OTHER,
    }  # fmt: skip
    amounts = [at * 0.1 for at in range(100) if at % 10]
    assert (found["amount"].nulls, found["amount"].low, found["amount"].high) == (10, amounts[0], amounts[-1])
    assert found["amount"].median == pytest.approx(np.median(amounts))
    assert (found["visits"].low, found["visits"].high, found["visits"].median) == (0, 4, 2)
    assert (found["shop"].nulls, found["shop"].levels, found["shop"].distinct) == (25, ("north", "south"), 2)
    assert summary.rows == 100
    assert violations(CONTRACT, summary) == []


def test_infinities_are_seen_and_an_empty_table_has_no_numbers() -> None:
    infinite = summary_of(pl.DataFrame({"x": [1.0, float("inf"), float("-inf")]})).columns[0]
    assert (infinite.low, infinite.high) == (float("-inf"), float("inf"))
    for column in summary_of(orders().clear()).columns:
        assert (column.low, column.high, column.median, column.distinct) == (None, None, None, 0)
    nulls = summary_of(pl.DataFrame({"x": pl.Series([None, None], dtype=pl.Float64)})).columns[0]
    assert (nulls.kind, nulls.nulls, nulls.median) == (Kind.FLOAT, 2, None)


def test_levels_are_most_frequent_first_and_at_most_a_thousand() -> None:
    texts = [f"t{place:04}" for place in range(1500)] + ["t1499"]
    column = summary_of(pl.DataFrame({"x": pl.Series(texts).cast(pl.Categorical)})).columns[0]
    assert (column.distinct, len(column.levels or ()), (column.levels or ())[:2]) == (1500, 1000, ("t1499", "t0000"))


def test_a_reference_has_each_day_in_utc_and_days_add_up_to_the_whole() -> None:
    reference = read_reference(PolarsInspector().reference(parquet(orders()), CONTRACT))
    assert set(reference.layout.columns) == {"amount", "visits", "member", "shop"}
    assert [(day, profile.rows) for day, profile in sorted(reference.days.items())] == [
        ("2024-05-01", 2), ("2024-05-02", 24), ("2024-05-03", 24), ("2024-05-04", 24), ("2024-05-05", 24),
        ("2024-05-06", 2),
    ]  # fmt: skip
    merged = merge_all(reference.days.values())
    assert merged.rows == reference.whole.rows == 100
    for name, column in reference.whole.columns.items():
        assert (merged.columns[name].counts, merged.columns[name].nulls) == (column.counts, column.nulls)
    assert reference.whole.columns["shop"].nulls == 25


def test_days_are_told_in_utc_whatever_the_zone_and_rows_without_a_time_are_in_none() -> None:
    frame = (
        orders()
        .with_columns(at=pl.col("at").dt.convert_time_zone("Asia/Tokyo"))
        .sample(fraction=1, shuffle=True, seed=1)
    )
    shuffled = read_reference(PolarsInspector().reference(parquet(frame), CONTRACT))
    ordered = read_reference(PolarsInspector().reference(parquet(orders()), CONTRACT))
    assert {day: one.columns["visits"].counts for day, one in shuffled.days.items()} == {
        day: one.columns["visits"].counts for day, one in ordered.days.items()
    }
    holed = orders().with_columns(at=pl.when(pl.int_range(pl.len()) > 49).then("at"))
    reference = read_reference(PolarsInspector().reference(parquet(holed), CONTRACT))
    assert sum(one.rows for one in reference.days.values()) == 50
    assert reference.whole.rows == 100
    dated = orders().with_columns(at=pl.lit(date(2024, 5, 1)))
    assert set(read_reference(PolarsInspector().reference(parquet(dated), CONTRACT)).days) == {"2024-05-01"}


def test_without_a_contract_every_column_that_can_be_has_a_profile_and_there_are_no_days() -> None:
    reference = read_reference(PolarsInspector().reference(parquet(orders()), None))
    assert (set(reference.whole.columns), reference.days) == ({"amount", "visits", "member", "shop"}, {})
    untimed = Contract(columns=tuple(rule for rule in CONTRACT.columns if rule.use is Use.FEATURE))
    assert read_reference(PolarsInspector().reference(parquet(orders()), untimed)).days == {}


def test_a_reference_can_be_kept_to_the_columns_that_a_model_takes() -> None:
    reference = read_reference(PolarsInspector().reference(parquet(orders()), CONTRACT))
    narrow = reference.only({"amount", "shop", "of another table"})
    assert set(narrow.layout.columns) == set(narrow.whole.columns) == {"amount", "shop"}
    assert narrow.whole == profile(columns_of(orders(), ["amount", "shop"]), narrow.layout)
    assert {one.layout for one in (narrow.whole, *narrow.days.values())} == {narrow.layout.digest}
    assert reference.only(set(reference.layout.columns)) == reference


def test_a_value_falls_into_the_cell_it_fell_into_before_it_was_served() -> None:
    """A column of one value, stored in double precision and asked about in single precision, is not unseen."""
    stored = pl.DataFrame({"x": [0.1] * 5, "flag": [True] * 5})
    served = stored.select(pl.col("x").cast(pl.Float32), pl.col("flag").cast(pl.Int64))
    reference = read_reference(PolarsInspector().reference(parquet(stored), None))
    window = profile(columns_of(served, ["x", "flag"]), reference.layout)
    assert {name: column.counts for name, column in window.columns.items()} == {
        name: column.counts for name, column in reference.whole.columns.items()
    }
    assert isinstance(window.columns["flag"], NumericProfile)


def test_columns_for_profiles_have_one_sign_for_missing() -> None:
    columns = columns_of(parquet(orders(9)), ["amount", "visits", "shop"])
    assert np.isnan(columns["amount"]).sum() == 1
    assert columns["visits"].dtype == np.float32
    assert columns["shop"].tolist()[0] is None
    holed = columns_of(pl.DataFrame({"n": [1, None]}), ["n"])["n"]
    assert np.isnan(holed[1])
    with pytest.raises(Invalid, match="no column 'price'"):
        columns_of(orders(), ["price"])
    with pytest.raises(Invalid, match="'tags' holds List"):
        columns_of(orders(), ["tags"])


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"a,b\n1,2\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_bytes_that_are_no_parquet_are_refused(data: bytes) -> None:
    for ask in (PolarsInspector().summarise, lambda it: PolarsInspector().reference(it, None)):
        with pytest.raises(Invalid, match="Parquet"):
            ask(data)
    with pytest.raises(Invalid, match="Parquet"):
        PolarsSegmentReader().read("late", "sg_1", data)


GOOD = parquet(orders(20).drop("tags"))


@pytest.mark.parametrize("kept", range(4, len(GOOD) - 4, 97))
def test_a_table_that_was_cut_is_refused(kept: int) -> None:
    with pytest.raises(Invalid, match="Parquet"):
        read_table(GOOD[:kept] + GOOD[-4:])
    with pytest.raises(Invalid, match="Parquet"):
        read_table(GOOD[:kept] + GOOD[-8:])


def captured(**changes: Any) -> pl.DataFrame:
    """Six rows as a model server captures them: two releases, one failure, one that reached no release."""
    frame = pl.DataFrame(
        {
            "_request": ["a", "b", "c", "d", "d", "e"],
            "_release": ["rl_1", "rl_1", "rl_2", "rl_2", "rl_2", None],
            "_event_at": [START + timedelta(hours=hour) for hour in (5, 1, 2, 3, 3, 4)],
            "_received_at": [START] * 6,
            "_status": pl.Series([200, 200, 200, 422, 422, 400], dtype=pl.Int16),
            "_latency_us": [90.0, 100.0, 100.5, 7e7, 2100.0, 10.0],
            "amount": pl.Series([1.0, 2.0, 3.0, None, None, None], dtype=pl.Float32),
            "_prediction": ["a", "b", "c", "d-0", "d-1", "e"],
            "_score": pl.Series([0.1, None, 0.3, None, None, None], dtype=pl.Float64),
            "_mirror_release": ["rl_2", None, None, None, None, None],
            "_mirror_score": pl.Series([0.4, None, None, None, None, None], dtype=pl.Float64),
        }
    )
    return frame.with_columns(**changes)


def test_a_segment_is_indexed_and_counted_by_release() -> None:
    content = PolarsSegmentReader().read("late", "sg_1", parquet(captured()))
    assert (content.rows, content.first_event_at, content.last_event_at) == (
        6, START + timedelta(hours=1), START + timedelta(hours=5),
    )  # fmt: skip
    assert [(one.id, one.row, one.release, one.score) for one in content.captured] == [
        ("a", 0, "rl_1", 0.1), ("b", 1, "rl_1", None), ("c", 2, "rl_2", 0.3), ("d-0", 3, "rl_2", None),
        ("d-1", 4, "rl_2", None),
    ]  # fmt: skip
    first = content.captured[0]
    assert (first.deployment, first.segment, first.event_at) == ("late", "sg_1", START + timedelta(hours=5))
    assert (first.mirror_release, first.mirror_score) == ("rl_2", 0.4)
    counts = {one.release: one for one in content.counts}
    assert {name: (one.requests, one.errors) for name, one in counts.items()} == {
        "rl_1": (2, 0), "rl_2": (3, 2), "": (1, 1),
    }  # fmt: skip
    assert counts["rl_1"].latency == {100: 2}
    assert counts["rl_2"].latency == {200: 1, 5_000: 1, LATENCY_BOUNDS_US[-1]: 1}


def test_scores_of_two_releases_are_compared_by_how_far_they_are_apart() -> None:
    apart = [0.0, 5e-7, 0.005, 0.5, 0.25]
    frame = captured(
        _release=pl.lit("rl_1"),
        _score=pl.lit(0.25),
        _mirror_release=pl.lit("rl_2"),
        _mirror_score=pl.Series([*(0.25 + one for one in apart), None], dtype=pl.Float64),
    )
    (comparison,) = PolarsSegmentReader().read("late", "sg_1", parquet(frame)).comparisons
    assert (comparison.release, comparison.rival, comparison.failed) == ("rl_1", "rl_2", 1)
    assert dict(zip((*TOLERANCES, "beyond"), comparison.cells, strict=True)) == {
        0.0: 1, 1e-9: 0, 1e-6: 1, 1e-4: 0, 1e-3: 0, 1e-2: 1, 1e-1: 0, "beyond": 2,
    }  # fmt: skip
    furthest = [(one.prediction, one.score, one.rival_score) for one in comparison.largest[:2]]
    assert furthest == [("d-0", 0.25, 0.75), ("d-1", 0.25, 0.5)]
    assert len(comparison.largest) == 4


def test_a_segment_without_mirrors_and_with_scores_that_are_no_numbers_is_read() -> None:
    bare = captured(_score=pl.lit(float("nan"))).drop("_mirror_release", "_mirror_score")
    content = PolarsSegmentReader().read("late", "sg_1", parquet(bare))
    assert {(one.score, one.mirror_release, one.mirror_score) for one in content.captured} == {(None, None, None)}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (captured().drop("_score", "_release"), "it has no _release, _score"),
        (orders().drop("tags"), "no segment of captured predictions"),
        (captured().clear(), "no row"),
        (captured(_event_at=pl.lit(None, pl.Datetime("us", "UTC"))), "rows without _event_at"),
        (captured(_status=pl.lit("fine")), "no segment of captured predictions"),
        (captured(_latency_us=pl.lit(None, pl.Float64)), "rows without _latency_us"),
    ],
)
def test_what_is_no_segment_is_refused(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        PolarsSegmentReader().read("late", "sg_1", parquet(frame))


@given(st.floats(0, 1e12))
def test_every_latency_counts_under_the_first_bound_that_holds_it(latency_us: float) -> None:
    frame = captured(_latency_us=pl.lit(latency_us)).head(1)
    (bound,) = PolarsSegmentReader().read("late", "sg_1", parquet(frame)).counts[0].latency
    assert bound == next((one for one in LATENCY_BOUNDS_US if latency_us <= one), LATENCY_BOUNDS_US[-1])


def test_the_features_of_a_segment_come_with_their_day_and_status() -> None:
    rows = features_of(parquet(captured()))
    assert rows.columns == ["amount", "_prediction", "_release", "_day", "_status"]
    assert rows["_day"].to_list() == [
        "2024-05-02",
        "2024-05-01",
        "2024-05-02",
        "2024-05-02",
        "2024-05-02",
        "2024-05-02",
    ]
