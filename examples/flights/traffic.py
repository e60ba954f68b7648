"""Plays days of flights through the endpoint: requests over HTTP, and the truth a day later."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import polars as pl
from flights import FEATURES

from headway import Client, NotFound

_NAMES = (*FEATURES.numeric, *FEATURES.categorical)
_AT_ONCE = 3
_LABELS_AT_ONCE = 5000


class Traffic:
    """Asks `deployment` about many flights at once, those that `together` have in common, and counts what it did not
    answer. Flights of one request are sent the same way during a canary."""

    def __init__(self, client: Client, deployment: str, together: tuple[str, ...] = ("hour", "origin")) -> None:
        self._client, self._deployment, self._together = client, deployment, together
        self._address = urlsplit(client.deployments.endpoint(deployment).url)
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._lines = threading.local()
        self._unlabelled: dict[str, float] = {}
        self.requests = self.flights = self.labels = 0
        self.failures: list[str] = []

    def day(self, flights: pl.DataFrame) -> None:
        """Ask about every flight of one day, then hand in what became of the flights of the day before."""
        for failure in self._pool.map(self._ask, _requests(flights, self._together)):
            self.requests += 1
            if failure:
                self.failures.append(failure)
        self.flights += flights.height
        self.label()
        known = flights.filter(pl.col("late").is_not_null())
        self._unlabelled |= dict(zip(known["flight_id"], known["late"].cast(pl.Float64), strict=True))

    def label(self) -> None:
        """Hand in what is known by now, oldest first. What was not captured yet is kept for the next time."""
        while oldest := dict(islice(self._unlabelled.items(), _LABELS_AT_ONCE)):
            try:
                answer = self._client.predictions.label(oldest)
            except NotFound:
                return
            self.labels += answer.joined
            for name in oldest.keys() - set(answer.unknown):
                del self._unlabelled[name]
            if answer.unknown:
                return

    def close(self) -> None:
        """Have the server hand over what it captured, and hand in the last labels."""
        self.flush()
        self.label()
        self._pool.shutdown()

    def flush(self) -> None:
        self._post("/v1/flush", b"")

    def _ask(self, body: bytes) -> str:
        status, answer = self._post(f"/v2/models/{self._deployment}/infer", body)
        return "" if status == 200 else f"{status}: {answer[:200].decode(errors='replace')}"

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Over this thread's own line; one that the server has closed while nobody spoke is opened anew."""
        line = getattr(self._lines, "line", None)
        if line is None:
            line = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=60)
            self._lines.line = line
        try:
            line.request("POST", path, body, {"content-type": "application/json"})
            answer = line.getresponse()
        except ConnectionError:
            line.close()
            line.request("POST", path, body, {"content-type": "application/json"})
            answer = line.getresponse()
        return answer.status, answer.read()


def by_day(flights: pl.DataFrame) -> Iterator[tuple[date, pl.DataFrame]]:
    """The flights of each day of the event, in UTC, in order."""
    days = flights.sort("scheduled_at").with_columns(day=pl.col("scheduled_at").dt.date())
    for (day,), rows in days.partition_by("day", as_dict=True, include_key=False, maintain_order=True).items():
        yield day, rows


def _requests(flights: pl.DataFrame, together: tuple[str, ...]) -> list[bytes]:
    """Requests of the Open Inference Protocol."""
    hours = flights.with_columns(hour=pl.col("scheduled_at").dt.truncate("1h"))
    return [_request(rows) for rows in hours.partition_by(*together, maintain_order=True)]


def _request(rows: pl.DataFrame) -> bytes:
    numeric = set(FEATURES.numeric)
    inputs: list[dict[str, Any]] = [
        {
            "name": name,
            "datatype": "FP32" if name in numeric else "BYTES",
            "shape": [rows.height, 1],
            "data": rows[name].to_list(),
        }
        for name in _NAMES
    ]
    parameters = {
        "key": f"{rows['origin'][0]} {rows['hour'][0]}",
        "event_at": rows["scheduled_at"][0].isoformat(),
        "prediction_ids": rows["flight_id"].to_list(),
    }
    return json.dumps({"inputs": inputs, "parameters": parameters}).encode()
