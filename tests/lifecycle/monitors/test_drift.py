from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import integrate

from headway.errors import Invalid
from headway.kernel.records import encode
from headway.lifecycle.datasets.profile import Layout, Profile
from headway.lifecycle.datasets.profiling import learn_layout, profile
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector, DriftJudgement, advance, evidence_of, judge
from headway.lifecycle.monitors.reference import DriftReference, DriftRule, learn_reference
from headway.lifecycle.monitors.statistic import Measure, Point, Statistic, Yardstick, fit

ROWS = 400
Columns = dict[str, Any]


def day(random: np.random.Generator, *, weather: float = 0.5, rows: int = ROWS) -> Columns:
    """One quiet day: `temp` and `rain` share the day's weather, as rows of one day do; `size` does not."""
    temp, rain = random.normal(0, weather, 2)
    return {
        "temp": 10 + 5 * (random.normal(size=rows) + temp),
        "rain": np.maximum(0.0, random.normal(rain - 1, 1, rows)),
        "size": random.lognormal(0, 1, rows),
        "constant": np.full(rows, 7.0),
        "kind": random.choice(np.array([f"kind {i}" for i in range(30)], dtype=object), rows),
        "side": random.choice(np.array(["left", "right"], dtype=object), rows, p=[0.8, 0.2]),
    }


class Quiet:
    """Sixty days to learn from."""

    def __init__(self, seed: int = 1, days: int = 60, rule: DriftRule | None = None, **options: Any) -> None:
        self.random = np.random.default_rng(seed)
        found = [day(self.random, **options) for _ in range(days)]
        self.layout: Layout = learn_layout({name: np.concatenate([part[name] for part in found]) for name in found[0]})
        self.windows = [self.window(part) for part in found]
        self.reference: DriftReference = learn_reference(self.windows, self.layout, rule)

    def window(self, columns: Columns) -> Profile:
        return profile(columns, self.layout)

    def judged(self, days: list[Columns]) -> list[DriftJudgement]:
        found: list[DriftJudgement] = []
        for columns in days:
            found.append(judge(self.window(columns), self.reference, found[-1].detector if found else None))
        return found


@pytest.fixture(scope="module")
def quiet() -> Quiet:
    return Quiet()


def changed(name: str, values: Any) -> Columns:
    return day(np.random.default_rng(9)) | {name: values}


def test_a_year_of_quiet_days_raises_no_alarm_and_hardly_flags(quiet: Quiet) -> None:
    judged = quiet.judged([day(quiet.random) for _ in range(365)])
    assert all(judgement.outcome is Outcome.PASS for judgement in judged)
    flagged = sum(any(column.flagged for column in judgement.columns) for judgement in judged)
    assert flagged <= 365 * 0.03


def test_days_that_resemble_the_day_before_raise_no_alarm() -> None:
    random, state, days = np.random.default_rng(5), 0.0, []
    for _ in range(260):
        state = 0.6 * state + 0.8 * random.normal()
        days.append({"temp": random.normal(state, 1, ROWS)})
    layout = learn_layout({"temp": np.concatenate([part["temp"] for part in days[:80]])})
    windows = [profile(columns, layout) for columns in days]
    reference, detector = learn_reference(windows[:80], layout), Detector()
    for window in windows[80:]:
        judgement = judge(window, reference, detector)
        detector = judgement.detector
        assert judgement.outcome is Outcome.PASS


_RANDOM = np.random.default_rng(9)


@pytest.mark.parametrize(
    ("name", "values", "statistic"),
    [
        ("temp", (day(_RANDOM)["temp"] - 32) / 1.8, Measure.MEAN),
        ("temp", day(_RANDOM)["temp"] + 25, Measure.MEAN),
        ("temp", np.where(np.arange(ROWS) % 4 == 0, np.nan, day(_RANDOM)["temp"]), Measure.NULLS),
        ("size", day(_RANDOM)["size"] * 3, Measure.MEAN),
        ("size", day(_RANDOM)["size"] * 0 + 1.6, Measure.DEVIATION),
        ("size", np.full(ROWS, np.inf), Measure.NULLS),
        ("constant", np.full(ROWS, 8.0), Measure.UNSEEN),
        ("kind", np.array([f"kind {i % 27}" for i in range(ROWS - 40)] + ["new"] * 40, dtype=object), Measure.UNSEEN),
        (
            "kind",
            np.array([f"kind {i % 30}" for i in range(ROWS - 80)] + ["kind 3"] * 80, dtype=object),
            "share of 'kind 3'",
        ),
        ("side", np.array(["left", "right"] * (ROWS // 2), dtype=object), "share of"),
    ],
)
def test_a_fault_is_flagged_the_same_day_and_alarms_within_days(
    quiet: Quiet, name: str, values: Any, statistic: str
) -> None:
    first, *_, last = quiet.judged([changed(name, values)] * 6)
    worst = min(first.columns, key=lambda column: column.p)
    assert (worst.column, worst.flagged) == (name, True)
    assert statistic in worst.statistic or worst.statistic == Measure.UNSEEN
    assert not worst.band.holds(worst.value)
    assert [column.column for column in first.columns if column.flagged] == [name]
    assert first.outcome is Outcome.PASS
    assert last.outcome is Outcome.FAIL
    assert name in last.reason


def test_an_alarm_ends_soon_after_the_drift(quiet: Quiet) -> None:
    judged = quiet.judged([changed("constant", np.full(ROWS, 8.0))] * 30 + [day(quiet.random) for _ in range(10)])
    assert judged[29].outcome is Outcome.FAIL
    assert judged[29].detector.total <= 2 * judged[29].limit * (1 + 1e-9)
    assert judged[-1].outcome is Outcome.PASS


def test_a_shift_below_the_floor_is_not_material_however_many_rows() -> None:
    quiet = Quiet(days=25, weather=0.0, rows=20_000)
    columns = day(quiet.random, weather=0.0, rows=20_000)
    for shift, flagged in ((0.3, False), (0.8, True)):  # of a deviation of 5
        (judgement,) = quiet.judged([columns | {"temp": columns["temp"] + shift}])
        assert [column.column for column in judgement.columns if column.flagged] == ["temp"] * flagged


def test_a_smaller_window_is_given_its_sampling_error() -> None:
    quiet = Quiet(days=40, weather=0.0, rows=5000)
    small = quiet.judged([day(quiet.random, weather=0.0, rows=120) for _ in range(150)])
    flagged = sum(any(column.flagged for column in judgement.columns) for judgement in small)
    assert flagged <= 5
    assert not any(judgement.outcome is Outcome.FAIL for judgement in small)


def test_too_little_to_judge_by_is_unproven_and_leaves_the_evidence(quiet: Quiet) -> None:
    detector = Detector(evidence={"temp": 5.0}, windows=3)
    judgement = judge(quiet.window(day(quiet.random, rows=99)), quiet.reference, detector)
    assert (judgement.outcome, judgement.detector, judgement.p) == (Outcome.UNPROVEN, detector, None)
    assert "99 rows" in judgement.reason
    few = learn_reference(quiet.windows[:19], quiet.layout)
    judgement = judge(quiet.windows[30], few, detector)
    assert (judgement.outcome, judgement.detector) == (Outcome.UNPROVEN, detector)
    assert "19 reference windows" in judgement.reason


def test_reference_windows_with_few_rows_are_left_out_and_counted(quiet: Quiet) -> None:
    small = quiet.window(day(quiet.random, rows=5))
    reference = learn_reference([small, *quiet.windows], quiet.layout)
    assert (reference.windows, reference.skipped) == (60, 1)
    assert reference.but(skipped=0) == quiet.reference


def test_another_layout_is_refused(quiet: Quiet) -> None:
    other = Quiet(seed=2, days=1)
    with pytest.raises(Invalid, match="another layout"):
        judge(other.windows[0], quiet.reference)
    with pytest.raises(Invalid, match="another layout"):
        learn_reference(other.windows, quiet.layout)


def test_records_survive_json(quiet: Quiet) -> None:
    reference = msgspec.json.decode(encode(quiet.reference), type=DriftReference)
    assert reference == quiet.reference
    for columns in (day(quiet.random), changed("temp", np.full(ROWS, 1e149)), changed("size", [None] * ROWS)):
        (judgement,) = quiet.judged([columns])
        assert msgspec.json.decode(encode(judgement), type=DriftJudgement) == judgement


def test_evidence_is_an_e_value() -> None:
    mean, _ = integrate.quad(lambda u: evidence_of(math.exp(-u)) * math.exp(-u), 0, 600, limit=200)
    assert mean + 1 / 600 == pytest.approx(1, abs=1e-4)  # over u = -log p; beyond 600 lies 1 / 600
    ps = np.geomspace(1e-12, 1, 200)
    assert all(np.diff([evidence_of(p) for p in ps]) <= 0)


def test_the_detector_keeps_its_promise_for_independent_uniform_p_values() -> None:
    random, alarms = np.random.default_rng(6), 0
    for _ in range(60):
        detector = Detector()
        for ps in random.random((200, 3)):
            gains = {str(place): evidence_of(p) for place, p in enumerate(ps)}
            detector = advance(detector, gains, 400.0, columns=gains)
            if detector.total >= 400:
                alarms += 1
                break
    assert alarms / 60 <= 0.5  # at most 200 / 400 of the runs, as the average run is 400 long


def points(values: list[float]) -> list[Point]:
    return [Point(at=value, n=1000) for value in values]


def fitted(values: list[float]) -> Statistic:
    yardstick = Yardstick(column="x", measure=Measure.MEAN, label="mean")
    return fit(yardstick, points(values), 1.0)


def test_leaving_a_window_out_is_learning_from_the_others() -> None:
    values = [float(value) for value in np.random.default_rng(7).exponential(1, 30)]
    whole = fitted(values)
    for place, value in enumerate(values):
        others = fitted(values[:place] + values[place + 1 :])
        left = whole.without(Point(at=value, n=1000))
        assert (left.windows, left.rows) == (29, 29_000)
        assert left.mean == pytest.approx(others.mean)
        assert left.sums == pytest.approx(others.sums)
        assert left.low <= others.low
        assert left.high >= others.high


def test_p_values_of_independent_normal_windows_are_uniform_or_larger() -> None:
    random = np.random.default_rng(8)
    ps = [
        fitted([float(value) for value in draw[:-1]]).p(Point(at=float(draw[-1]), n=1000), 0.0)
        for draw in random.normal(0, 1, (2000, 31))
    ]
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(ps) <= level) <= level * 1.25


def test_neighbours_that_resemble_each_other_widen_the_band() -> None:
    smooth = [float(np.sin(place / 6)) for place in range(60)]
    shuffled = [float(value) for value in np.random.default_rng(1).permutation(smooth)]
    assert fitted(smooth).inflation > 5 > 2 > fitted(shuffled).inflation
    assert fitted(smooth).half_width(1000, 0.01, 0.1) > fitted(shuffled).half_width(1000, 0.01, 0.1)
