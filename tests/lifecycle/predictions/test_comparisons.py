from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headway.lifecycle.predictions.records import Comparison, Difference, Segment
from headway.lifecycle.predictions.rules import MOST_LARGEST, compared

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def segment(minute: int, *comparisons: Comparison) -> Segment:
    at = NOON + timedelta(minutes=minute)
    return Segment(
        id=f"sg_{minute}", created_at=at, deployment="d", blob="b", size=1, rows=1, first_event_at=at,
        last_event_at=at, counts=(), comparisons=comparisons,
    )  # fmt: skip


def one(*apart: float, failed: int = 1, release: str = "rl_1", rival: str = "rl_2") -> Comparison:
    largest = tuple(Difference(prediction=f"p{each}", score=0.0, rival_score=each) for each in apart)
    return Comparison(
        release=release, rival=rival, cells=(5, 0, 1, 0, 2, 0, 0, 3), failed=failed, largest=largest
    )  # fmt: skip


SEGMENTS = [segment(1, one(0.1, 0.2)), segment(59, one(0.3), one(rival="rl_3")), segment(60, one(release="rl_9"))]


@pytest.mark.parametrize(("tolerance", "within", "different"), [(0.0, 0, 12), (1e-6, 2, 10), (1e-3, 6, 6)])
def test_hours_are_added_up_and_held_against_the_tolerance(tolerance: float, within: int, different: int) -> None:
    first, second = compared(SEGMENTS, "rl_2", tolerance)
    assert (first.window, first.release, first.equal, first.failed) == (NOON, "rl_1", 10, 2)
    assert (first.within, first.different) == (within, different)
    assert [each.prediction for each in first.largest] == ["p0.3", "p0.2", "p0.1"]
    assert (second.window, second.release, second.equal) == (NOON + timedelta(hours=1), "rl_9", 5)


def test_the_largest_are_bounded() -> None:
    (found,) = compared([segment(0, one(*range(8))), segment(1, one(*range(8, 16)))], "rl_2", 1e-6)
    assert [each.rival_score for each in found.largest] == list(range(15, 15 - MOST_LARGEST, -1))
