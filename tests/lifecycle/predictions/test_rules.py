from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.lifecycle.predictions.records import Captured, Label
from headway.lifecycle.predictions.rules import joined, paired_days

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def captured(name: str, score: float | None, mirror: float | None = None) -> Captured:
    return Captured(
        id=name, deployment="d", segment="sg_1", row=0, release="rl_a", event_at=NOON, score=score,
        mirror_release=None if mirror is None else "rl_b", mirror_score=mirror,
    )  # fmt: skip


def test_a_mirrored_prediction_is_paired_from_both_sides() -> None:
    sums = joined({"p": captured("p", 0.2, 0.6)}, [Label(prediction="p", value=1.0)])
    (mine,), (theirs,) = paired_days(sums, "rl_a", "rl_b"), paired_days(sums, "rl_b", "rl_a")
    assert (mine.day, mine.n) == (theirs.day, theirs.n) == (NOON.date(), 1)
    assert mine.total == pytest.approx(0.64 - 0.16)
    assert theirs.total == pytest.approx(-mine.total)
    own = [quality for quality in sums if quality.n]
    assert [(quality.release, quality.n) for quality in own] == [("rl_a", 1)]


def test_a_failed_prediction_adds_nothing() -> None:
    assert joined({"p": captured("p", None)}, [Label(prediction="p", value=1.0)]) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1)), st.sampled_from([0.0, 1.0]))))
def test_sums_over_all_rows_are_the_sums_of_its_parts(rows: list[tuple[float, float | None, float]]) -> None:
    found = {str(place): captured(str(place), score, mirror) for place, (score, mirror, _) in enumerate(rows)}
    labels = [Label(prediction=str(place), value=label) for place, (_, _, label) in enumerate(rows)]
    whole = joined(found, labels)
    parts = [one for label in labels for one in joined(found, [label])]
    assert sum(quality.n for quality in whole) == len(rows) == sum(quality.n for quality in parts)
    assert sum(quality.loss for quality in whole) == pytest.approx(sum(quality.loss for quality in parts))
    paired = sum(one.n for one in paired_days(whole, "rl_a", "rl_b"))
    assert paired == sum(mirror is not None for _, mirror, _ in rows)
