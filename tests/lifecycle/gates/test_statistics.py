from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from headway.errors import Invalid
from headway.kernel.records import encode
from headway.kernel.statistics import UNBOUNDED
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.gates.statistics import (
    Slice,
    accuracy,
    auc,
    brier,
    holm,
    log_loss,
    paired_difference,
    slices,
    squared_losses,
)

SCORED = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=2).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@given(SCORED)
def test_scores_agree_with_scikit_learn(rows: list[tuple[int, float]]) -> None:
    labels, scores = map(np.array, zip(*rows, strict=True))
    assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert brier(labels, scores) == pytest.approx(metrics.brier_score_loss(labels, scores))
    assert accuracy(labels, scores) == metrics.accuracy_score(labels, scores >= 0.5)
    kept = np.clip(scores, 1e-15, 1 - 1e-15)
    assert log_loss(labels, scores) == pytest.approx(metrics.log_loss(labels, kept), rel=1e-3)


def test_without_clusters_it_is_the_paired_t_test() -> None:
    random = np.random.default_rng(1)
    a, b = random.random((2, 300))
    found = paired_difference(a, b, alpha=0.1)
    expected = stats.ttest_rel(a, b).confidence_interval(0.9)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    assert 2 * min(found.p_above(0), found.p_below(0)) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert (found.n, found.clusters) == (300, 300)


def test_swapping_the_models_turns_the_sign() -> None:
    a, b = np.random.default_rng(2).random((2, 100))
    days = np.repeat(np.arange(20), 5)
    one, other = paired_difference(a, b, clusters=days), paired_difference(b, a, clusters=days)
    assert one.estimate == -other.estimate
    assert one.interval.low == pytest.approx(-other.interval.high)
    assert one.p_above(0.01) == pytest.approx(other.p_below(-0.01))


def test_the_interval_holds_when_rows_of_a_day_go_together() -> None:
    random = np.random.default_rng(3)
    with_days = without = 0
    for _ in range(400):
        sizes = random.integers(10, 60, 30)
        days = np.repeat(np.arange(30), sizes)
        losses = random.normal(0, 1, 30)[days] + random.normal(0, 1, days.size)
        with_days += paired_difference(losses, np.zeros_like(losses), clusters=days).interval.holds(0)
        without += paired_difference(losses, np.zeros_like(losses)).interval.holds(0)
    assert 0.92 <= with_days / 400 <= 0.99
    assert without / 400 < 0.6


@pytest.mark.parametrize("days", [["one"] * 50, ["one"] * 49 + ["two"]])
def test_one_day_says_nothing(days: list[str]) -> None:
    found = paired_difference(np.arange(50.0), np.zeros(50), clusters=days)
    assert (found.interval.low, found.interval.high) == (-UNBOUNDED, UNBOUNDED)
    assert found.p_above(0) == found.p_below(0) == 1
    assert paired_difference([], []).interval == found.interval


@pytest.mark.parametrize(
    ("a", "b", "clusters"),
    [([1.0], [1.0, 2.0], None), ([1.0, np.nan], [1.0, 2.0], None), ([1.0], [1.0], ["x", "y"]), (["x"], [1.0], None)],
)
def test_losses_that_do_not_pair_are_refused(a: Any, b: Any, clusters: Any) -> None:
    with pytest.raises(Invalid):
        paired_difference(a, b, clusters=clusters)


@pytest.mark.parametrize(("labels", "scores"), [([0, 2], [0.1, 0.2]), ([0, 1], [0.1, 1.2]), ([], []), ([1, 1], [0, 1])])
def test_what_is_no_classification_has_no_auc(labels: Any, scores: Any) -> None:
    with pytest.raises(Invalid):
        auc(labels, scores)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def sliced(worse: float, **options: Any) -> dict[str, Slice]:
    """Three slices over 40 days of 90 rows; the model is worse by `worse` in the middle one. A fourth is tiny."""
    random = np.random.default_rng(4)
    names = np.array(["north", "south", "west"] * 1200, dtype=object)
    names[:5] = None
    loss = random.random(3600)
    noise = random.normal(0, 0.05, 3600)
    found = slices(names, loss + noise + worse * (names == "south"), loss, clusters=np.arange(3600) // 90, **options)
    return {part.name: part for part in found}


def test_a_bad_slice_fails_while_the_others_pass() -> None:
    found = sliced(0.05, margin=0.02)
    assert [found[name].outcome for name in ("north", "south", "west", "None")] == ["pass", "fail", "pass", "unproven"]
    assert found["south"].comparison.interval.holds(0.05)
    assert "5 rows in 1 clusters" in found["None"].reason
    assert sum(part.comparison.n for part in found.values()) == 3600


def test_neither_worse_nor_shown_not_to_be_is_unproven() -> None:
    assert {part.outcome for part in sliced(0, margin=0.0).values()} == {Outcome.UNPROVEN}
    assert {part.outcome for part in sliced(0, margin=0.1, min_clusters=41).values()} == {Outcome.UNPROVEN}


def test_the_same_model_is_not_worse_than_itself() -> None:
    loss = squared_losses(np.zeros(500), np.linspace(0, 1, 500))
    (found,) = slices(["all"] * 500, loss, loss)
    assert (found.outcome, found.comparison.estimate) == (Outcome.PASS, 0)
    assert msgspec.json.decode(encode(found), type=Slice) == found


def test_among_many_slices_without_a_difference_hardly_any_fails() -> None:
    random = np.random.default_rng(5)
    names = np.repeat(np.arange(20), 120)
    failed = 0
    for _ in range(50):
        found = slices(names, random.normal(0, 1, names.size), np.zeros(names.size), alpha=0.1)
        failed += any(part.outcome is Outcome.FAIL for part in found)
    assert failed / 50 <= 0.12
