"""What each table has to look like. Units and medians stand here so that Celsius cannot pass for Fahrenheit."""

from __future__ import annotations

from headway import ColumnRule, Contract, Kind, Use

_AIRPORTS = ("EWR", "JFK", "LGA")


def _number(name: str, low: float, high: float, nulls: float = 0.0, use: Use = Use.FEATURE) -> ColumnRule:
    return ColumnRule(name=name, kind=Kind.FLOAT, low=low, high=high, nulls=nulls, use=use)


def _text(name: str, use: Use = Use.FEATURE, nulls: float = 0.0, levels: tuple[str, ...] | None = None) -> ColumnRule:
    return ColumnRule(name=name, kind=Kind.STR, nulls=nulls, levels=levels, use=use)


def _time(name: str, use: Use = Use.OTHER) -> ColumnRule:
    return ColumnRule(name=name, kind=Kind.TIME, use=use)


_TEMPERATURE = ColumnRule(name="temp", kind=Kind.FLOAT, low=-20, high=115, median=(25, 85), nulls=0.05, unit="F")
_HUMIDITY = _number("humid", 0, 100, nulls=0.05)

WEATHER = Contract(
    columns=(
        _text("origin", levels=_AIRPORTS),
        _time("time_hour", Use.TIME),
        _TEMPERATURE,
        _number("dewp", -40, 95, nulls=0.05),
        _HUMIDITY,
        _number("wind_dir", 0, 360, nulls=0.1),
        _number("wind_speed", 0, 1100, nulls=0.05),
        _number("wind_gust", 0, 150, nulls=1.0),
        _number("precip", 0, 10),
        _number("pressure", 900, 1100, nulls=0.3),
        _number("visib", 0, 20),
        *(_number(name, 0, 3000, use=Use.OTHER) for name in ("year", "month", "day", "hour")),
    ),
    min_rows=100,
)

# Known only once the flight has left or landed: no model may ever be given these.
_TOO_LATE = tuple(
    _number(name, -3000, 3000, nulls=0.2, use=Use.BANNED)
    for name in ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
)

DEPARTURES = Contract(
    columns=(
        _text("flight_id", Use.KEY),
        _time("scheduled_at", Use.TIME),
        _time("time_hour"),
        _text("carrier"),
        _text("origin", levels=_AIRPORTS),
        _text("dest"),
        _text("tailnum", Use.OTHER, nulls=0.05),
        *(
            _number(name, 0, 9000, use=Use.OTHER)
            for name in ("year", "month", "day", "hour", "minute", "sched_dep_time", "sched_arr_time", "flight")
        ),
        _number("distance", 10, 6000),
        *_TOO_LATE,
    ),
    min_rows=100,
)

FEATURES = Contract(
    columns=(
        _text("flight_id", Use.KEY),
        _time("scheduled_at", Use.TIME),
        ColumnRule(name="late", kind=Kind.INT, low=0, high=1, use=Use.LABEL),
        _number("departs_hour", 0, 24),
        _number("arrives_hour", 0, 24),
        _number("block_hours", 0, 24),
        _number("weekday", 1, 7),
        _number("distance", 10, 6000),
        _number("departures", 1, 200),
        _number("recent_delay_minutes", -15, 180, nulls=0.5),
        _number("plane_age_years", -1, 80, nulls=0.5),
        _number("seats", 1, 600, nulls=0.5),
        _TEMPERATURE.but(nulls=0.1),
        _number("dewp", -40, 95, nulls=0.1),
        _HUMIDITY.but(nulls=0.1),
        _number("wind_speed", 0, 150, nulls=0.1),
        _number("wind_gust", 0, 150, nulls=0.1),
        _number("precip", 0, 10, nulls=0.1),
        _number("pressure", 900, 1100, nulls=0.3),
        _number("visib", 0, 20, nulls=0.1),
        _number("precip_3h", 0, 30, nulls=0.1),
        _number("visib_3h", 0, 20, nulls=0.1),
        _text("carrier"),
        _text("origin", levels=_AIRPORTS),
        _text("dest"),
        _text("manufacturer"),
        *(rule.but(required=False) for rule in _TOO_LATE),
    ),
    min_rows=100,
)
