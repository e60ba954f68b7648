"""Several classes: the loss of what was said, and labels by name or number."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import Invalid
from headway.lifecycle.gates.statistics import class_accuracy, class_log_loss, class_losses
from headway.lifecycle.predictions.records import Captured, Label
from headway.lifecycle.predictions.rules import class_loss, class_place, joined

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLASSES = {"rl_a": ("bus", "car", "train"), "rl_b": ("train", "bus", "tram")}
CHANCES = st.lists(st.floats(0, 1), min_size=3, max_size=6)


@given(chances=CHANCES, data=st.data())
def test_one_loss_is_that_of_many(chances: list[float], data: st.DataObject) -> None:
    place = data.draw(st.integers(-1, len(chances) - 1))
    truth = [float(at == place) for at in range(len(chances))]
    expected = sum((chance - happened) ** 2 for chance, happened in zip(chances, truth, strict=True))
    expected += place < 0
    assert class_loss(chances, place) == pytest.approx(expected)
    assert class_losses([place], [chances])[0] == pytest.approx(expected)


def test_what_is_certain_and_right_loses_nothing() -> None:
    chances = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.5, 0.3]]
    assert class_losses([0, 2, 1], chances).tolist() == pytest.approx([0, 0, 0.04 + 0.25 + 0.09])
    assert class_accuracy([0, 1, 1], chances) == pytest.approx(2 / 3)
    assert class_log_loss([0, 2, 1], chances) == pytest.approx(-np.log(0.5) / 3)


@pytest.mark.parametrize("chances", [[0.5, 0.5], [[0.5, np.nan]], [[0.5], [0.5]]])
def test_what_is_no_probability_for_each_class(chances: list[object]) -> None:
    with pytest.raises(Invalid):
        class_losses([0], np.asarray(chances, dtype=np.float64))


@pytest.mark.parametrize(
    ("classes", "value", "place"),
    [
        (("bus", "car"), "car", 1), ((3, 5, 7), 5.0, 1), ((3, 5, 7), "7", 2), (("3", "5"), 3, 0), ((3, 5), 3.5, -1),
        (("bus", "car"), "ferry", -1), (("bus", "car"), 1.0, -1),
    ],
)  # fmt: skip
def test_a_class_by_name_or_number(classes: tuple[str | int, ...], value: float | str, place: int) -> None:
    assert class_place(classes, value) == place


def test_each_release_is_judged_by_its_own_order_of_classes() -> None:
    one = Captured(
        id="p", deployment="d", segment="sg", row=0, release="rl_a", event_at=NOON, score=0.5, mirror_release="rl_b",
        mirror_score=0.6, probabilities=(0.2, 0.3, 0.5), mirror_probabilities=(0.6, 0.3, 0.1),
    )  # fmt: skip
    found = joined({"p": one}, [Label(prediction="p", value="train")], CLASSES.__getitem__)
    sums = {each.release: each for each in found}
    mine, theirs = 0.04 + 0.09 + 0.25, 0.16 + 0.09 + 0.01
    assert sums["rl_a"].loss == pytest.approx(mine)
    assert sums["rl_a"].paired == pytest.approx(mine - theirs)
    assert sums["rl_b"].paired == pytest.approx(theirs - mine)


def test_a_rival_that_gives_a_number_is_no_rival() -> None:
    one = Captured(
        id="p", deployment="d", segment="sg", row=0, release="rl_a", event_at=NOON, score=0.5, mirror_release="rl_c",
        mirror_score=0.6, probabilities=(0.2, 0.3, 0.5),
    )  # fmt: skip
    [only] = joined({"p": one}, [Label(prediction="p", value="car")], CLASSES.__getitem__)
    assert (only.rival, only.paired_n) == ("", 0)
