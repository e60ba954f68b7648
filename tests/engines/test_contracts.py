"""The contract that is read off a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.tables.contracts import infer_contract
from headway.engines.tables.frames import summary_of
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Use, violations
from headway.lifecycle.datasets.schema import Kind

DAYS, ROWS_A_DAY = 40, 50


def weather(seed: int, *, days: int = DAYS) -> pl.DataFrame:
    """Degrees Fahrenheit that differ from day to day, rain that mostly is none, a station, and more."""
    random = np.random.default_rng(seed)
    n = days * ROWS_A_DAY
    by_day = np.repeat(random.normal(40, 6, days), ROWS_A_DAY)
    degrees = by_day + random.normal(0, 4, n)
    degrees[random.random(n) < 0.03] = np.nan
    return pl.DataFrame(
        {
            "id": [f"{seed}-{at}" for at in range(n)],
            "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=at * 1440 / ROWS_A_DAY) for at in range(n)],
            "degrees": degrees,
            "rain": np.where(random.random(n) < 0.9, 0, random.exponential(size=n)),
            "gusts": random.integers(0, 50, n),
            "station": random.choice(["coast", "hill", "town"], n),
            "ticket": [f"t{at % 700}" for at in range(n)],
            "open": random.random(n) < 0.5,
            "seen_at": [datetime(2024, 1, 1, tzinfo=UTC)] * n,
            "delay": random.random(n),
            "late": pl.Series(random.integers(0, 2, n)),
        }
    )


def rules(seed: int = 1) -> dict[str, ColumnRule]:
    contract = infer_contract(weather(seed), label="late", time="at", key="id", banned=["delay"])
    return {rule.name: rule for rule in contract.columns}


def test_each_column_gets_its_kind_and_use() -> None:
    found = rules()
    assert {name: (rule.kind, rule.use) for name, rule in found.items()} == {
        "id": (Kind.STR, Use.KEY), "at": (Kind.TIME, Use.TIME), "degrees": (Kind.FLOAT, Use.FEATURE),
        "rain": (Kind.FLOAT, Use.FEATURE), "gusts": (Kind.INT, Use.FEATURE), "station": (Kind.STR, Use.FEATURE),
        "ticket": (Kind.STR, Use.FEATURE), "open": (Kind.BOOL, Use.FEATURE), "seen_at": (Kind.TIME, Use.OTHER),
        "delay": (Kind.FLOAT, Use.BANNED), "late": (Kind.INT, Use.LABEL),
    }  # fmt: skip
    assert found["station"].levels == ("coast", "hill", "town")
    assert (found["ticket"].levels, found["id"].levels) == (None, None)
    assert found["gusts"].nulls == 0.0
    assert found["degrees"].nulls == pytest.approx(0.095, abs=0.01)
    assert (found["gusts"].low, found["gusts"].high) == (0.0, 98.0)
    assert found["rain"].low == 0.0
    assert found["rain"].high == pytest.approx(10 * weather(1)["rain"].max(), rel=1e-3)  # type: ignore[operator]
    assert found["late"].median is None
    assert (found["delay"].required, found["delay"].nulls) == (False, 1.0)


@pytest.mark.parametrize("seed", range(2, 8))
def test_other_samples_of_the_same_source_keep_it(seed: int) -> None:
    contract = infer_contract(weather(1), label="late", time="at", key="id")
    assert violations(contract, summary_of(weather(seed))) == []
    assert violations(contract, summary_of(weather(seed, days=25))) == []


def test_a_change_of_unit_breaks_it_though_every_value_is_in_range() -> None:
    contract = infer_contract(weather(1), label="late", time="at", key="id")
    celsius = weather(2).with_columns(degrees=(pl.col("degrees") - 32) * 5 / 9)
    assert [(one.column, one.rule) for one in violations(contract, summary_of(celsius))] == [("degrees", "median")]
    lost = weather(2).with_columns(degrees=pl.when(pl.int_range(pl.len()) % 5 > 1).then("degrees"))
    assert ("degrees", "nulls") in [(one.column, one.rule) for one in violations(contract, summary_of(lost))]
    renamed = weather(2).rename({"rain": "rainfall"})
    assert [one.rule for one in violations(contract, summary_of(renamed))] == ["required", "closed"]


def test_days_count_as_the_sample_when_there_is_a_time() -> None:
    with_days, without = rules()["degrees"].median, infer_contract(weather(1)).columns[2].median
    assert with_days is not None
    assert without is not None
    assert infer_contract(pl.DataFrame({"x": [3] * 100})).columns[0].median is None
    assert with_days[0] < without[0] < without[1] < with_days[1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(allow_nan=True) | st.none(), min_size=1, max_size=60))
def test_every_table_keeps_its_own_contract(values: list[float | None]) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64), "s": [str(value) for value in values]})
    assert violations(infer_contract(frame), summary_of(frame)) == []


def test_a_use_that_names_no_column_or_one_twice_is_refused() -> None:
    frame = weather(1, days=1)
    with pytest.raises(Invalid, match="no column 'lat' to use as label; did you mean 'late'"):
        infer_contract(frame, label="lat")
    with pytest.raises(Invalid, match="named as label and as banned"):
        infer_contract(frame, label="late", banned=["late"])
    with pytest.raises(Invalid, match="no row"):
        infer_contract(frame.clear())
    with pytest.raises(Invalid, match="'rain' is to hold times"):
        infer_contract(frame, time="rain")
