"""Bringing over the histories of metrics, many runs and many metrics at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from headway.client.client import Client
from headway.client.mlflow.source import Points, Source, Told
from headway.client.mlflow.translate import Place, metric_keys
from headway.kernel.records import json_numbers

_MOST_POINTS = 50_000
"""In one request."""


def take_histories(source: Source, client: Client, runs: list[Told], run_at: Place, pool: Executor) -> int:
    """All points of `runs`, a page of them; returns how many there were. The same again is kept once."""
    by_key: dict[str, list[str]] = {}
    for told in runs:
        for key in metric_keys(told):
            by_key.setdefault(key, []).append(told["info"]["run_id"])

    def sent(key: str) -> int:
        parcel = _Parcel(source, client, run_at)
        for run, points in source.histories(by_key[key], key):
            parcel.add(run, key, points)
        return parcel.send()

    if len(runs) > 1 and len(by_key) > 1:
        return sum(pool.map(sent, by_key))
    return sum(map(sent, by_key))


class _Parcel:
    """Points on their way: sent when there are many of them."""

    def __init__(self, source: Source, client: Client, run_at: Place) -> None:
        self._source, self._client, self._run_at = source, client, run_at
        self._runs: dict[str, dict[str, dict[str, list[Any]]]] = {}
        self._waiting, self._sent = 0, 0

    def add(self, run: str, key: str, points: Points) -> None:
        for part in _parts(points):
            if self._waiting + len(part.steps) > _MOST_POINTS:
                self.send()
            columns = self._runs.setdefault(self._run_at(run), {}).setdefault(
                key, {"steps": [], "at_us": [], "values": []}
            )
            columns["steps"] += part.steps
            columns["at_us"] += [1000 * at_ms for at_ms in part.at_ms]
            columns["values"] += json_numbers(part.values)
            self._waiting += len(part.steps)

    def send(self) -> int:
        """Send what waits; how many were sent in all."""
        if self._runs:
            self._sent += self._client.imports.points(self._source.uri, self._runs)
            self._runs, self._waiting = {}, 0
        return self._sent


def _parts(points: Points) -> Iterator[Points]:
    for start in range(0, len(points.steps), _MOST_POINTS):
        end = start + _MOST_POINTS
        yield Points(
            steps=points.steps[start:end], at_ms=points.at_ms[start:end], values=points.values[start:end]
        )  # fmt: skip
