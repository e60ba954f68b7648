"""The features say only what was known before departure; the ONNX models answer as scikit-learn does."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import onnxruntime
import polars as pl
import pytest
from flights import (
    FEATURES,
    arrived,
    corrupt,
    in_months,
    read_flights,
    read_planes,
    read_weather,
    with_features,
)
from polars.testing import assert_frame_equal
from sklearn.pipeline import Pipeline
from training import fit_boosting, fit_constant, fit_logistic, probability, scores, tensors, to_onnx

INPUTS = [*FEATURES.numeric, *FEATURES.categorical]


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    return read_flights()


@pytest.fixture(scope="module")
def weather() -> pl.DataFrame:
    return read_weather()


@pytest.fixture(scope="module")
def planes() -> pl.DataFrame:
    return read_planes()


@pytest.fixture(scope="module")
def winter(flights: pl.DataFrame, weather: pl.DataFrame, planes: pl.DataFrame) -> pl.DataFrame:
    return with_features(flights.filter(pl.col("month") <= 2), weather, planes)


@pytest.fixture(scope="module")
def boosting(winter: pl.DataFrame) -> Pipeline:
    return fit_boosting(arrived(in_months(winter, 1, 1)))


def test_every_flight_has_its_own_id_and_leaves_at_its_local_time(flights: pl.DataFrame) -> None:
    assert flights["flight_id"].n_unique() == flights.height == 336_776
    local = pl.col("scheduled_at").dt.convert_time_zone("America/New_York").dt
    clock = flights.select(at=local.hour().cast(pl.Int64) * 100 + local.minute())["at"]
    assert (clock == flights["sched_dep_time"]).all()


def test_features_are_the_named_columns_and_no_outcome(winter: pl.DataFrame) -> None:
    assert winter.columns == ["flight_id", "scheduled_at", *INPUTS, "late"]
    assert winter["flight_id"].n_unique() == winter.height
    assert winter.select(FEATURES.categorical).null_count().sum_horizontal().item() == 0
    assert winter["wind_speed"].max() < 60  # type: ignore[operator]


def test_late_is_more_than_a_quarter_of_an_hour_and_unknown_without_an_arrival(
    flights: pl.DataFrame, winter: pl.DataFrame
) -> None:
    delays = flights.filter(pl.col("month") <= 2)["arr_delay"]
    assert winter["late"].null_count() == delays.null_count() > 0
    assert winter.filter(delays == 15)["late"].sum() == 0
    assert winter.filter(delays == 16)["late"].mean() == 1
    assert arrived(winter)["late"].null_count() == 0


def test_nothing_that_happens_after_the_question_changes_a_feature(
    flights: pl.DataFrame, weather: pl.DataFrame, planes: pl.DataFrame
) -> None:
    day = flights.filter(pl.col("month") == 1, pl.col("day") == 30)
    asked_at = day.filter(pl.col("hour") == 15)["scheduled_at"].min() - timedelta(hours=1)  # type: ignore[operator]
    left_at = pl.col("scheduled_at") + pl.duration(minutes=pl.col("dep_delay"))
    unknown = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
    known = day.with_columns(pl.when(left_at <= asked_at).then(pl.col("dep_delay")).alias("dep_delay"))
    known = known.with_columns(pl.lit(None, pl.Int64).alias(name) for name in unknown if name != "dep_delay")
    hourly = weather.filter(pl.col("time_hour") <= asked_at)
    asked = pl.col("scheduled_at") == asked_at + timedelta(hours=1)
    told = with_features(day, weather, planes).filter(asked)
    assert told.height > 0
    assert told["recent_delay_minutes"].null_count() == 0
    assert_frame_equal(told.select(INPUTS), with_features(known, hourly, planes).filter(asked).select(INPUTS))


def test_recent_delay_is_the_mean_of_those_that_left_in_the_two_hours_before(
    flights: pl.DataFrame, weather: pl.DataFrame, planes: pl.DataFrame
) -> None:
    day = flights.filter(pl.col("month") == 2, pl.col("day") == 27)
    features = with_features(day, weather, planes)
    left_at = pl.col("scheduled_at") + pl.duration(minutes=pl.col("dep_delay"))
    for row in range(200, day.height, 25):
        origin, asked_at = day.select("origin", pl.col("scheduled_at") - pl.duration(hours=1)).row(row)
        known = day.filter(pl.col("origin") == origin, left_at <= asked_at)
        # The window ends with the last departure, so it starts two hours before that one.
        lately = known.filter(left_at > known.select(left_at.max()).item() - timedelta(hours=2))
        expected = lately["dep_delay"].clip(-15, 180).mean()
        assert features["recent_delay_minutes"][row] == pytest.approx(expected, rel=1e-5)


def test_weather_is_that_of_the_hour_before(winter: pl.DataFrame, weather: pl.DataFrame) -> None:
    for row in winter[20_000:30_000:1000].iter_rows(named=True):
        hour = row["scheduled_at"].replace(minute=0) - timedelta(hours=1)
        report = weather.filter(pl.col("origin") == row["origin"], pl.col("time_hour") == hour)
        assert row["temp"] == pytest.approx(report["temp"].item(), rel=1e-6)
        assert row["humid"] == pytest.approx(report["humid"].item(), rel=1e-6)


def test_bad_deliveries_are_bad_in_the_way_they_are_named(winter: pl.DataFrame, weather: pl.DataFrame) -> None:
    for frame in (winter, weather):
        schema = corrupt(frame, "schema")
        assert "temp" not in schema.columns
        assert schema["visib"].dtype == pl.String
        nulls = corrupt(frame, "nulls")["humid"].is_null()
        assert nulls.mean() == pytest.approx(0.4, abs=0.01)
        assert (nulls == corrupt(frame, "nulls")["humid"].is_null()).all()
        hottest = (frame["temp"].max() - 32) / 1.8  # type: ignore[operator]
        assert corrupt(frame, "units")["temp"].max() == pytest.approx(hottest, rel=1e-5)


@pytest.mark.parametrize("kind", ["constant", "logistic", "boosting"])
def test_onnx_answers_as_scikit_learn_does(kind: str, winter: pl.DataFrame, boosting: Pipeline) -> None:
    january, asked = arrived(in_months(winter, 1, 1)), in_months(winter, 2, 2).head(5000)
    strangers = asked.with_columns(carrier=pl.lit("ZZ"), dest=pl.lit("XXX"), manufacturer=pl.lit("nobody"))
    silent = asked.with_columns(pl.lit(None, pl.Float32).alias(name) for name in FEATURES.numeric)
    fitted = boosting if kind == "boosting" else {"constant": fit_constant, "logistic": fit_logistic}[kind](january)
    session = onnxruntime.InferenceSession(to_onnx(fitted, january), providers=["CPUExecutionProvider"])
    assert {tensor.name for tensor in session.get_inputs()} == set(INPUTS)
    for frame in (asked, strangers, silent):
        _, probabilities = session.run(["label", "probabilities"], tensors(frame))
        assert np.abs(probabilities[:, 1] - probability(fitted, frame)).max() < 1e-5


def test_the_same_seed_gives_the_same_bytes(winter: pl.DataFrame, boosting: Pipeline) -> None:
    january = arrived(in_months(winter, 1, 1))
    assert to_onnx(fit_boosting(january), january) == to_onnx(boosting, january)
    assert to_onnx(fit_boosting(january, seed=1), january) != to_onnx(boosting, january)


def test_boosting_beats_a_guess_and_shuffled_labels_do_not(winter: pl.DataFrame, boosting: Pipeline) -> None:
    january, february = arrived(in_months(winter, 1, 1)), arrived(in_months(winter, 2, 2))
    late = february["late"].to_numpy()
    guess = scores(late, probability(fit_constant(january), february))
    shuffled = scores(late, probability(fit_boosting(january, shuffle_labels=True), february))
    assert scores(late, probability(boosting, february))["log_loss"] < guess["log_loss"] - 0.02
    assert shuffled["log_loss"] > guess["log_loss"] - 0.005
