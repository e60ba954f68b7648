"""One day of captured predictions as a profile."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headway.engines.tables.frames import PolarsInspector, columns_of
from headway.engines.tables.windows import day_profiles, day_window, skewed_day
from headway.errors import Invalid
from headway.lifecycle.datasets.contract import ColumnRule, Contract, Use
from headway.lifecycle.datasets.profile import Layout
from headway.lifecycle.datasets.profiling import profile
from headway.lifecycle.datasets.reference import Reference, read_reference
from headway.lifecycle.datasets.schema import Kind
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector, judge
from headway.lifecycle.monitors.reference import DriftRule, learn_reference
from headway.lifecycle.monitors.skew import SkewedDay

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = "2024-03-01"
ROWS_A_DAY = 200


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def requests(
    days: int, *, first: datetime = START, seed: int = 0, name: str = "p", warmer: float = 0.0
) -> pl.DataFrame:
    """What was asked: degrees and a shop, `ROWS_A_DAY` a day."""
    random, n = np.random.default_rng(seed), days * ROWS_A_DAY
    by_day = np.repeat(random.normal(scale=0.2, size=days), ROWS_A_DAY)
    return pl.DataFrame(
        {
            "degrees": random.normal(size=n) + by_day + warmer,
            "shop": random.choice(["north", "south"], n),
            "_prediction": [f"{name}-{at}" for at in range(n)],
            "_event_at": [first + timedelta(minutes=at * 1440 / ROWS_A_DAY) for at in range(n)],
        }
    )


def segment(frame: pl.DataFrame, *, status: int = 200, release: str = "rl_1") -> bytes:
    """As a model server writes it: single precision, and columns of its own."""
    return parquet(
        frame.with_columns(
            pl.col("degrees").cast(pl.Float32), _release=pl.lit(release), _status=pl.lit(status, pl.Int16),
            _latency_us=pl.lit(80.0), _score=pl.lit(0.5),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> Reference:
    contract = Contract(
        columns=(
            ColumnRule(name="degrees", kind=Kind.FLOAT),
            ColumnRule(name="shop", kind=Kind.STR),
            ColumnRule(name="_event_at", kind=Kind.TIME, use=Use.TIME),
        ),
        closed=False,
    )
    return read_reference(
        PolarsInspector().reference(parquet(requests(40, first=START - timedelta(days=60))), contract)
    )


@pytest.fixture(scope="module")
def layout(reference: Reference) -> Layout:
    return reference.layout


def test_a_day_is_all_of_its_answered_rows_from_any_segment(layout: Layout) -> None:
    asked = requests(3, seed=1)
    pieces = [segment(asked[at : at + 70]) for at in range(0, asked.height, 70)]
    found = day_profiles(pieces, DAY, layout)
    assert found == profile(columns_of(asked.head(ROWS_A_DAY), layout.columns), layout)
    assert found.rows == ROWS_A_DAY
    days = [day_profiles(pieces, f"2024-03-0{day}", layout).rows for day in (1, 2, 3, 4)]
    assert days == [ROWS_A_DAY, ROWS_A_DAY, ROWS_A_DAY, 0]


def test_nothing_is_counted_twice_and_what_is_left_out_is_told(layout: Layout) -> None:
    asked, failed = requests(1, seed=1), requests(1, seed=2, name="f").head(30)
    older = requests(1, seed=3, name="o").head(20).drop("shop")
    coded = requests(1, seed=4, name="c").head(10).with_columns(shop=pl.lit(1))
    window = day_window(
        [segment(asked), segment(asked[50:150]), segment(failed, status=422), segment(older), segment(coded)],
        DAY,
        layout,
    )
    assert window.profile == profile(columns_of(asked, layout.columns), layout)
    assert (window.repeated, window.failed, window.other) == (100, 30, 30)


def test_a_day_without_predictions_is_empty(layout: Layout) -> None:
    assert day_profiles([], DAY, layout).rows == 0
    assert day_window([segment(requests(1), status=500)], DAY, layout).failed == ROWS_A_DAY
    with pytest.raises(Invalid, match="Parquet"):
        day_profiles([b"no segment"], DAY, layout)


def test_quiet_days_are_quiet_and_a_shift_is_drift(reference: Reference) -> None:
    days = [reference.days[day] for day in sorted(reference.days)]
    learnt = learn_reference(days, reference.layout, DriftRule())

    def outcomes(warmer: float) -> list[Outcome]:
        detector, found = Detector(), []
        asked = segment(requests(10, seed=5, warmer=warmer))
        for day in range(1, 11):
            window = day_profiles([asked], f"2024-03-{day:02}", reference.layout)
            judged = judge(window, learnt, detector)
            detector = judged.detector
            found.append(judged.outcome)
        return found

    assert set(outcomes(0.0)) == {Outcome.PASS}
    assert Outcome.FAIL in outcomes(1.5)
    assert judge(day_profiles([], DAY, reference.layout), learnt).outcome is Outcome.UNPROVEN


def marked(marks: list[list[str] | None], *, name: str = "m", release: str = "rl_1", status: int = 200) -> bytes:
    """A segment of as many rows as there are marks, all on `DAY`."""
    frame = requests(1, name=name).head(len(marks)).with_columns(_skewed=pl.Series(marks, dtype=pl.List(pl.String)))
    return segment(frame, release=release, status=status)


def test_rows_that_break_rules_are_counted_once_by_column() -> None:
    marks = [["degrees"], ["degrees", "shop"], ["note"], None, None]
    pieces = [
        marked(marks),
        marked(marks),  # the same predictions once more
        marked([["degrees"]] * 3, name="other", release="rl_2"),
        marked([["degrees"]] * 3, name="failed", status=500),
        segment(requests(1, name="old").head(4)),  # of a server that marked nothing yet
    ]
    found = skewed_day(pieces, DAY, "rl_1", ("degrees", "shop"))
    assert found == SkewedDay(rows=9, skewed=2, columns={"degrees": 2, "shop": 1})
    assert skewed_day(pieces, DAY, "rl_1", ("note",)) == SkewedDay(rows=9, skewed=1, columns={"note": 1})
    for nothing in (
        skewed_day([], DAY, "rl_1", ("degrees",)),
        skewed_day(pieces, "2024-03-09", "rl_1", ("degrees",)),
    ):
        assert nothing == SkewedDay(rows=0, skewed=0)
    with pytest.raises(Invalid):
        skewed_day([b"no segment"], DAY, "rl_1", ("degrees",))
