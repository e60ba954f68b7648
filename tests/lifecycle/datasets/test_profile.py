from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import Invalid
from headway.kernel.records import encode
from headway.lifecycle.datasets.profile import (
    Layout,
    LevelProfile,
    NumericLayout,
    NumericProfile,
    Profile,
    merge,
    merge_all,
)
from headway.lifecycle.datasets.profiling import CELLS, LEVELS, learn_layout, profile

LAYOUT = learn_layout({"x": np.linspace(-3, 3, 2000), "c": ["a", "b", "c", None] * 500})
NUMBERS = st.one_of(st.none(), st.floats(allow_subnormal=False), st.integers(-5, 5))
ROWS = st.lists(st.tuples(NUMBERS, st.sampled_from(["a", "b", "zz", None])), max_size=30)


def of(rows: list[tuple[float | None, str | None]]) -> Profile:
    numbers = np.array([math.nan if row[0] is None else row[0] for row in rows], dtype=np.float64)
    return profile({"x": numbers, "c": np.array([row[1] for row in rows], dtype=object)}, LAYOUT)


def numeric(found: Profile, name: str = "x") -> NumericProfile:
    column = found.columns[name]
    assert isinstance(column, NumericProfile)
    return column


def exact(found: Profile) -> tuple[Any, ...]:
    x = numeric(found)
    return found.rows, found.layout, found.columns["c"], x.n, x.nulls, x.non_finite, x.counts, x.low, x.high


def same(a: Profile, b: Profile) -> bool:
    x, y = numeric(a), numeric(b)
    size = max(abs(x.low or 0), abs(x.high or 0))
    mean = math.isclose(x.mean, y.mean, rel_tol=1e-9, abs_tol=1e-9 * size)
    return exact(a) == exact(b) and mean and math.isclose(x.m2, y.m2, rel_tol=1e-9, abs_tol=1e-9 * size * size)


@given(ROWS, ROWS)
def test_merge_is_the_profile_of_both_tables_in_either_order(a: Any, b: Any) -> None:
    assert merge(of(a), of(b)) == merge(of(b), of(a))
    assert same(merge(of(a), of(b)), of(a + b))


@given(ROWS, ROWS, ROWS)
def test_merge_does_not_mind_the_grouping(a: Any, b: Any, c: Any) -> None:
    assert same(merge(merge(of(a), of(b)), of(c)), merge(of(a), merge(of(b), of(c))))
    assert same(merge_all([of(a), of(b), of(c)]), of(a + b + c))


@given(ROWS)
def test_every_row_is_counted_once_and_survives_json(rows: Any) -> None:
    found = of(rows)
    x, c = numeric(found), found.columns["c"]
    assert x.n + x.nulls + x.non_finite == c.n + c.nulls == found.rows == len(rows)
    assert sum(x.counts) == x.n
    assert sum(c.counts) == c.n
    assert msgspec.json.decode(encode(found), type=Profile) == found


def test_moments_are_numpys_and_keep_their_digits_far_from_zero() -> None:
    values = np.random.default_rng(1).normal(1e9, 1, 10_000)
    layout = learn_layout({"x": values})
    found = numeric(merge_all(profile({"x": part}, layout) for part in np.array_split(values, 7)))
    assert found.mean == pytest.approx(values.mean(), rel=1e-15)
    assert found.m2 == pytest.approx(values.var() * values.size, rel=1e-6)


def test_cells_hold_equally_many_rows_and_the_outer_ones_none() -> None:
    values = np.random.default_rng(2).lognormal(0, 3, 50_000)
    layout = learn_layout({"x": values})
    counts = numeric(profile({"x": values}, layout)).counts
    assert len(counts) == CELLS + 2
    assert counts[0] == counts[-1] == 0
    assert set(counts[1:-1]) <= {97, 98}
    beyond = numeric(profile({"x": np.array([values.min() - 1, values.max() + 1])}, layout)).counts
    assert beyond[0] == beyond[-1] == 1


def test_few_distinct_values_each_have_their_cell() -> None:
    hours = np.repeat(np.arange(24), 10)
    layout = learn_layout({"hour": hours})
    column = layout.columns["hour"]
    assert isinstance(column, NumericLayout)
    assert column.cuts[:24] == tuple(range(24))
    assert numeric(profile({"hour": hours}, layout), "hour").counts == (0, *[10] * 24, 0)


def test_levels_are_ranked_and_capped_and_the_rest_is_counted() -> None:
    texts = [f"level {i}" for i in range(LEVELS + 5) for _ in range(1 + (i == 7))]
    layout = learn_layout({"c": texts})
    found = profile({"c": [*texts, "new"]}, layout).columns["c"]
    assert isinstance(found, LevelProfile)
    assert found.counts[0] == 2
    assert found.counts[-1] == 6


@pytest.mark.parametrize(
    ("learnt", "given_later"),
    [([True, False], ["true", "false"]), (["1", "2"], [1, 2]), (["1", "2"], [1.0, 2.0]), (["x", None], ["x", "x"])],
)
def test_a_level_is_one_text_whatever_its_type(learnt: Any, given_later: Any) -> None:
    found = profile({"c": given_later}, learn_layout({"c": learnt})).columns["c"]
    assert found.counts[-1] == 0
    assert found.n == 2


def test_numbers_with_none_are_numbers_and_codes_can_be_levels() -> None:
    layout = learn_layout({"x": [1, None, 2.5], "code": [7, 8, 7]}, categorical=["code"])
    found = profile({"x": [None, None, 3], "code": [7, 9, 7]}, layout)
    assert (numeric(found).n, numeric(found).nulls) == (1, 2)
    assert found.columns["code"] == LevelProfile(n=3, nulls=0, counts=(2, 0, 1))


def test_infinite_and_enormous_numbers_are_counted_apart() -> None:
    found = numeric(profile({"x": [math.inf, -math.inf, 1e300, math.nan, 1.0], "c": [None] * 5}, LAYOUT))
    assert (found.n, found.nulls, found.non_finite, found.mean) == (1, 1, 3, 1.0)


def test_a_column_without_any_value_is_profiled_too() -> None:
    layout = learn_layout({"x": np.full(3, np.nan), "c": [None] * 3})
    found = profile({"x": [math.nan, 2.0, 3.0], "c": ["a", None, None]}, layout)
    assert (found.columns["x"].n, found.columns["c"].n) == (2, 1)


def test_the_digest_names_the_layout() -> None:
    again = msgspec.json.decode(encode(LAYOUT), type=Layout)
    assert again == LAYOUT
    assert again.digest == LAYOUT.digest == of([]).layout
    assert learn_layout({"x": [1.0, 2.0]}).digest != LAYOUT.digest


def test_profiles_of_two_layouts_are_not_merged() -> None:
    other = learn_layout({"x": [1.0, 2.0], "c": ["a"] * 2})
    with pytest.raises(Invalid, match="one layout"):
        merge(of([(1.0, "a")]), profile({"x": [1.0], "c": ["a"]}, other))
    with pytest.raises(Invalid):
        merge_all([])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1.0]}, "missing"),
        ({"x": [1.0], "c": ["a"], "y": [1]}, "not in it"),
        ({"x": [1.0, 2.0], "c": ["a"]}, "one value per row"),
        ({"x": [[1.0]], "c": [["a"]]}, "one value per row"),
        ({"x": ["warm"], "c": ["a"]}, "held numbers"),
        ({"x": [1.0], "c": np.array([{"a": 1}], dtype=object)}, "dict"),
    ],
)
def test_columns_that_do_not_fit_the_layout_are_refused(columns: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        profile(columns, LAYOUT)


def test_unknown_types_and_names_are_refused() -> None:
    with pytest.raises(Invalid, match="holds date"):
        learn_layout({"day": np.array(["2026-01-01"], dtype="datetime64[D]")})
    with pytest.raises(Invalid, match="no such column"):
        learn_layout({"x": [1.0]}, categorical=["y"])
