"""The year 2013, played: what `headway demo` runs. The stage hands over clients, prints, and waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
from contracts import DEPARTURES, WEATHER
from flights import corrupt, in_months, read_flights, read_planes, read_weather, with_features
from traffic import Traffic, by_day

from headway import Client, Refused

if TYPE_CHECKING:
    from headway.cli.stage import Stage

DEPLOYMENT, PIPELINE = "lateness", "retrain"


@dataclass
class Year:
    """The tables of the year, whole, and the flights that are asked about with their features."""

    flights: pl.DataFrame
    weather: pl.DataFrame
    planes: pl.DataFrame
    asked: pl.DataFrame


def play(stage: Stage, quick: bool) -> None:
    year = read_year()
    author, approver = stage.person("author", "author"), stage.person("approver", "approver")
    stage.title("Data: three tables, each under its contract")
    stage.say(f"{year.flights.height:,} flights of the year 2013")
    register(author, year, through=3)
    for kind in ("schema", "nulls", "units"):
        stage.say(f"a bad delivery ({kind}) is refused: {refusal(author, year, kind)}")

    stage.title("Change 1: train, prove, judge, approve, release, deploy")
    stage.open(author, DEPLOYMENT, PIPELINE, why="the first model")
    stage.follow(author, 1, until="judged")
    stage.cannot_approve(author, 1)
    stage.approve(approver, 1, "better than both baselines where it can be told; slices are honest about n")
    stage.follow(author, 1, until="rolling_out")
    stage.wait_for_endpoint(DEPLOYMENT)

    stage.title("The year goes by: every flight is asked about, the truth comes a day later")
    # All airports' flights of an hour in one request: fewer requests, for the same flights.
    traffic = Traffic(stage.owner, DEPLOYMENT, ("hour",)) if quick else Traffic(stage.owner, DEPLOYMENT)
    Player(stage, year, traffic, author, approver, quick).play()
    traffic.close()
    stage.say(
        f"{traffic.flights:,} flights in {traffic.requests:,} requests, {len(traffic.failures)} failed; "
        f"{traffic.labels:,} labels joined"
    )
    for failure in traffic.failures[:3]:
        stage.say(f"failed: {failure}")


class Player:
    """Plays day after day, and does what people do meanwhile: deliver new months, approve, and once go wrong."""

    def __init__(
        self, stage: Stage, year: Year, traffic: Traffic, author: Client, approver: Client, quick: bool
    ) -> None:
        self._stage, self._year, self._traffic, self._quick = stage, year, traffic, quick
        self._author, self._approver = author, approver
        self._seen = 1

    def play(self) -> None:
        month = 3
        days = list(by_day(in_months(self._year.asked, 4, 12)))
        for number, (day, flights) in enumerate(days):
            if day.month > month + 1:
                month += 1
                register(self._author, self._year, through=month)
            self._traffic.day(flights)
            self._stage.progress(number + 1, len(days), f"{day:%d %B}")
            self._attend(day)
            if self._quick and self._told_all():
                return

    def _told_all(self) -> bool:
        """Whether the last change of the story, the bad one, has ended."""
        newest = self._stage.newest(self._author)
        return newest.number > 2 and newest.over

    def _attend(self, day: date) -> None:
        newest = self._stage.newest(self._author)
        if newest.number > self._seen:
            self._seen = newest.number
            if newest.cause == "alert":
                self._retrain(newest.number, day)

    def _retrain(self, number: int, day: date) -> None:
        """Traffic rests while the new model is trained: minutes in life, not days."""
        self._stage.title(f"{day:%d %B}: an alert opened change {number}")
        self._stage.say(self._stage.newest(self._author).why)
        self._stage.follow(self._author, number, until="judged")
        self._stage.approve(self._approver, number, "it has seen the season that the last one had not")
        self._stage.follow(self._author, number, until="rolling_out")
        if number == 2:
            self._go_wrong(day)

    def _go_wrong(self, day: date) -> None:
        self._stage.title(f"{day:%d %B}: somebody breaks the glass for a model trained on shuffled labels")
        self._seen = self._stage.open(
            self._stage.owner, DEPLOYMENT, PIPELINE, why="urgent, no time for the gate", shuffle_labels="true",
            break_glass="demonstration: what happens when the gate is skipped",
        )  # fmt: skip
        self._stage.follow(self._author, self._seen, until="released")
        self._stage.say(f"change {self._seen} waits until the canary of change 2 is decided")


def read_year() -> Year:
    """The tables, and every flight with its features."""
    flights, weather, planes = read_flights(), read_weather(), read_planes()
    return Year(flights, weather, planes, with_features(flights, weather, planes))


def register(client: Client, year: Year, through: int) -> None:
    """The tables as they are at the end of a month: the same lines, longer."""
    client.datasets.add("departures", _until(year.flights, through), contract=DEPARTURES, note=f"months 1-{through}")
    client.datasets.add("weather", _until(year.weather, through), contract=WEATHER, note=f"months 1-{through}")
    client.datasets.add("planes", year.planes)


def refusal(client: Client, year: Year, kind: str) -> str:
    try:
        client.datasets.add("weather", corrupt(_until(year.weather, 3), kind), contract=WEATHER)  # type: ignore[arg-type]
    except Refused as error:
        return str(error)
    raise AssertionError(f"the contract let a bad delivery pass: {kind}")


def _until(table: pl.DataFrame, month: int) -> pl.DataFrame:
    return table.filter(pl.col("month") <= month)
