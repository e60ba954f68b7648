from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headway.errors import Invalid
from headway.kernel.distributions import (
    binomial_tail,
    incomplete_beta,
    normal_quantile,
    student_t_cdf,
    student_t_quantile,
    student_t_tail,
)
from headway.kernel.records import encode
from headway.kernel.statistics import (
    UNBOUNDED,
    Interval,
    bernoulli_sequence,
    clustered_interval,
    mean_interval,
    student_sequence,
    wilson,
)

LOOKS = [int(n) for n in np.unique(np.geomspace(1, 2000, 120).astype(int))]


@pytest.mark.parametrize("df", [0.5, 1, 2, 7.3, 30, 365, 1e4, 1e6])
@pytest.mark.parametrize("t", [-9, -1, 0, 1e-6, 0.1, 1, 1.8, 2, 6, 12, 40])
def test_student_t_agrees_with_scipy_far_into_the_tail(t: float, df: float) -> None:
    assert student_t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-7, abs=1e-200)
    assert student_t_cdf(t, df) == pytest.approx(stats.t.cdf(t, df), rel=1e-7, abs=1e-200)


def test_student_t_becomes_normal() -> None:
    assert student_t_tail(3, math.inf) == pytest.approx(stats.norm.sf(3), rel=1e-12)


@pytest.mark.parametrize("df", [1, 2.5, 20, 1e5])
@pytest.mark.parametrize("probability", [1e-10, 0.001, 0.3, 0.5, 0.9, 0.9995])
def test_quantiles_agree_with_scipy(probability: float, df: float) -> None:
    assert student_t_quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-6, abs=1e-9)
    assert normal_quantile(probability) == pytest.approx(stats.norm.ppf(probability), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("n", [1, 50, 1000, 100_000])
@pytest.mark.parametrize("share", [0, 0.0001, 0.02, 0.5, 0.99, 1])
def test_binomial_tail_agrees_with_scipy(n: int, share: float) -> None:
    for successes in {0, 1, int(n * share), min(n, int(n * share * 1.2) + 3), n, n + 1}:
        expected = stats.binom.sf(successes - 1, n, share)
        assert binomial_tail(successes, n, share) == pytest.approx(expected, rel=1e-7, abs=1e-280)


@given(st.floats(0.1, 500), st.floats(0.1, 500), st.floats(0, 1))
def test_incomplete_beta_agrees_with_scipy(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-6, abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([0.001, 0.05, 0.3]))
def test_wilson_agrees_with_scipy(successes: int, failures: int, alpha: float) -> None:
    n = successes + failures
    found = wilson(successes, n, alpha)
    if n == 0:
        assert (found.low, found.high) == (0, 1)
        return
    expected = stats.binomtest(successes, n).proportion_ci(1 - alpha, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_mean_interval_is_that_of_student() -> None:
    values = np.random.default_rng(1).normal(5, 2, 40)
    low, high = stats.t.interval(0.9, 39, values.mean(), stats.sem(values))
    found = mean_interval(40, values.sum(), (values**2).sum(), 0.1)
    assert (found.low, found.high, found.level) == pytest.approx((low, high, 0.9))


def test_too_few_values_bound_nothing_and_survive_json() -> None:
    for found in (mean_interval(1, 3, 9), student_sequence([]), student_sequence([1.0, 2.0, 3.0, 4.0])):
        assert (found.low, found.high) == (-UNBOUNDED, UNBOUNDED)
        assert msgspec.json.decode(encode(found), type=Interval) == found


@given(st.integers(0, 2000), st.integers(0, 2000), st.sampled_from([0.01, 0.05, 0.5]))
def test_bernoulli_sequence_ends_where_the_mixture_ratio_is_one_over_alpha(a: int, b: int, alpha: float) -> None:
    found = bernoulli_sequence(a, a + b, alpha)
    assert 0 <= found.low <= (a / (a + b) if a + b else 0.5) <= found.high <= 1
    for edge in (found.low, found.high):
        if 1e-12 < edge < 1 - 1e-12:  # between, the likelihood of the edge is alpha times that of the mixture
            mixture = stats.betabinom.logpmf(a, a + b, 0.5, 0.5)
            assert stats.binom.logpmf(a, a + b, edge) - mixture == pytest.approx(math.log(alpha), abs=1e-4)


def test_bernoulli_sequence_holds_at_all_looks_together() -> None:
    random = np.random.default_rng(2)
    for share in (0.01, 0.3):
        counts = (random.random((400, LOOKS[-1])) < share).cumsum(axis=1)
        excluded = sum(
            any(not bernoulli_sequence(int(run[n - 1]), n, 0.1).holds(share) for n in LOOKS[::2]) for run in counts
        )
        assert excluded / 400 <= 0.1


def test_one_look_intervals_do_not_hold_at_all_looks_together() -> None:
    counts = (np.random.default_rng(3).random((200, LOOKS[-1])) < 0.3).cumsum(axis=1)
    excluded = sum(any(not wilson(int(run[n - 1]), n, 0.1).holds(0.3) for n in LOOKS) for run in counts)
    assert excluded / 200 > 0.2


@pytest.mark.parametrize("effect", [0.3, 1.0, 3.0, 30.0])
def test_student_sequence_holds_at_all_looks_together_from_the_second_value_on(effect: float) -> None:
    runs = np.random.default_rng(4).normal(7, 3, (600, 40)).tolist()
    ends = [[student_sequence(run[:n], 0.1, effect) for n in range(41)] for run in runs]
    below, above = (
        sum(any(wrong(found) for found in looks) for looks in ends) / 600
        for wrong in (lambda found: found.high < 7, lambda found: found.low > 7)
    )
    assert below + above <= 0.1
    assert max(below, above) <= 0.07


@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.sampled_from([0.01, 0.05, 0.3]),
    st.sampled_from([0.5, 1.0, 3.0]),
)  # fmt: skip
def test_student_sequence_ends_where_the_mixed_ratio_is_one_over_alpha(
    values: list[float], alpha: float, effect: float
) -> None:
    found, n = student_sequence(values, alpha, effect), len(values)
    spread = float(np.var(values))
    if found.high == UNBOUNDED or spread < 1e-6:
        return
    assert found.low <= np.mean(values) <= found.high
    for edge in (found.low, found.high):  # the ratio of Gönen et al. (2005), The Bayesian two-sample t test
        squared_t = (np.mean(values) - edge) ** 2 * (n - 1) / spread
        known = 1 + n * effect**2
        ratio = (1 + squared_t / (n - 1)) / (1 + squared_t / (n - 1) / known)
        assert n / 2 * math.log(ratio) - math.log(known) / 2 == pytest.approx(-math.log(alpha), abs=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=20), st.floats(-5, 5), st.floats(0.1, 10))
def test_student_sequence_moves_with_its_values(values: list[float], shift: float, scale: float) -> None:
    one, moved = student_sequence(values), student_sequence([shift + scale * value for value in values])
    assert (moved.low, moved.high) == pytest.approx((shift + scale * one.low, shift + scale * one.high), abs=1e-6)


@pytest.mark.parametrize(("effect", "least"), [(1.0, 5), (3.0, 3), (10.0, 3), (100.0, 2)])
def test_how_few_values_can_tell_anything(effect: float, least: int) -> None:
    assert student_sequence([0.0] * (least - 1), 0.05, effect).high == UNBOUNDED
    assert student_sequence([0.25] * least, 0.05, effect) == Interval(low=0.25, high=0.25, level=0.95)


def test_student_sequence_costs_less_than_twice_the_width_of_one_look() -> None:
    values = np.random.default_rng(5).standard_normal(30)
    one = mean_interval(30, values.sum(), (values**2).sum())
    all_looks = student_sequence(values.tolist())
    assert one.high - one.low < all_looks.high - all_looks.low < 2 * (one.high - one.low)


def test_an_effect_that_is_not_above_zero_is_refused() -> None:
    with pytest.raises(Invalid, match="effect"):
        student_sequence([1.0, 2.0], effect=0.0)


@pytest.mark.parametrize(("successes", "n", "alpha"), [(-1, 5, 0.05), (6, 5, 0.05), (1, 5, 0), (1, 5, 1)])
def test_impossible_counts_are_refused(successes: int, n: int, alpha: float) -> None:
    with pytest.raises(Invalid):
        bernoulli_sequence(successes, n, alpha)
    with pytest.raises(Invalid):
        wilson(successes, n, alpha)


def test_impossible_probabilities_are_refused() -> None:
    for probability in (0, 1, math.nan):
        with pytest.raises(Invalid):
            student_t_quantile(probability, 3)
    with pytest.raises(Invalid):
        student_t_tail(1, 0)


def test_a_clustered_interval_is_that_of_the_means_when_groups_are_equal() -> None:
    means = [0.1, 0.4, 0.2, 0.3, 0.25]
    found = clustered_interval([(10, 10 * mean) for mean in means], 0.05)
    expected = mean_interval(5, sum(means), sum(mean**2 for mean in means), 0.05)
    assert found.low == pytest.approx(expected.low)
    assert found.high == pytest.approx(expected.high)


def test_a_clustered_interval_covers_where_rows_of_a_day_resemble_each_other() -> None:
    chance = random.Random(1)
    held = naive = 0
    for _ in range(400):
        means = [chance.gauss(0, 0.5) for _ in range(25)]
        days = [(50, sum(own + chance.gauss(0, 1) for _ in range(50))) for own in means]
        held += clustered_interval(days, 0.05).holds(0.0)
        total = sum(total for _, total in days)
        naive += mean_interval(1250, total, 1250 * 1.25, 0.05).holds(0.0)
    assert 0.91 <= held / 400 <= 0.99
    assert naive / 400 < 0.6


def test_a_clustered_interval_of_one_day_knows_nothing() -> None:
    assert clustered_interval([(1000, 3.0)], 0.05).high == UNBOUNDED
