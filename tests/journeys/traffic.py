"""Asks a deployment's endpoint about orders over plain HTTP, and hands in what became of them."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from headway.client.client import Client
from headway.errors import NotFound

_ROWS = 8
"""Orders in one request."""


class Traffic:
    """`failures` holds every answer but 200, and every request that got none."""

    def __init__(self, client: Client, deployment: str) -> None:
        self._client, self._deployment = client, deployment
        self._address = urlsplit(client.deployments.endpoint(deployment).url)
        self.rows = 0
        self.failures: list[str] = []
        self._unlabelled: dict[str, float] = {}

    def play(self, orders: pl.DataFrame) -> None:
        """Ask about all of `orders`, have the answers handed over, and hand in the truth."""
        self.ask(orders)
        self.flush()
        self.label()

    def ask(self, orders: pl.DataFrame) -> None:
        for rows in orders.iter_slices(_ROWS):
            status, answer = self.infer(request(rows))
            self.rows += rows.height
            if status != 200:
                self.failures.append(f"{status}: {answer}")
            self._unlabelled |= dict(zip(rows["order"], rows["late"].cast(pl.Float64), strict=True))

    def label(self) -> None:
        """Hand in what is known by now; what was not captured yet is kept for the next time."""
        if not self._unlabelled:
            return
        try:
            answer = self._client.predictions.label(self._unlabelled)
        except NotFound:
            return
        self._unlabelled = {name: self._unlabelled[name] for name in answer.unknown}

    def flush(self) -> None:
        self._post("/v1/flush", b"")

    def infer(self, body: dict[str, Any] | bytes) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._post(f"/v2/models/{self._deployment}/infer", data)

    def _post(self, path: str, body: bytes) -> tuple[int, Any]:
        line = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)
        try:
            line.request("POST", path, body, {"content-type": "application/json"})
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError as error:
            return 0, str(error)
        finally:
            line.close()


def request(rows: pl.DataFrame) -> dict[str, Any]:
    """A request of the Open Inference Protocol; orders of one hour of one courier go the same way."""
    inputs = [
        {"name": name, "datatype": kind, "shape": [rows.height, 1], "data": rows[name].to_list()}
        for name, kind in (("distance_km", "FP32"), ("weight_kg", "FP32"), ("courier", "BYTES"))
    ]
    event_at = rows["ordered_at"][0].isoformat()
    parameters = {"key": rows["order"][0], "event_at": event_at, "prediction_ids": rows["order"].to_list()}
    return {"inputs": inputs, "parameters": parameters}
