"""Nobody searches on for a client that has gone, nor for longer than is allowed: a real server, a costly question."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headway.kernel.access import SYSTEM
from headway.lifecycle.runs.records import StartRun
from headway.server.app import compose
from headway.server.settings import Settings
from tests.server.serving import served

_SEARCH = "/api/2.0/mlflow/runs/search"
_COSTLY = " AND ".join(["tags.note LIKE '%_b%'"] * 60)
"""Each takes milliseconds, and that for each run: half a minute in all."""


@pytest.fixture(scope="module")
def costly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with runs that are costly to search, and the id of their experiment."""
    home = tmp_path_factory.mktemp("costly") / ".headway"
    application = compose(Settings(home=home))
    for _ in range(200):
        command = StartRun(experiment="costly", tags={"note": "a" * 6000 + "b"})
        application.platform.runs.start(command, by=SYSTEM)
    experiment = application.platform.experiments.named("costly")
    application.close()
    assert experiment is not None
    return home, experiment.id


def test_a_search_ends_when_its_client_hangs_up(costly: tuple[Path, str]) -> None:
    home, experiment = costly
    with served(home) as client:
        body = json.dumps({"experiment_ids": [experiment], "filter": _COSTLY}).encode()
        head = (
            f"POST {_SEARCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: {client.headers['authorization']}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        url = client.base_url
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.sendall(head.encode() + body)
            time.sleep(0.5)
            assert _answered(client, "runs/search") == 0
        _until(lambda: _answered(client, "runs/search") == 1)


def test_a_search_that_takes_too_long_is_refused_and_the_server_goes_on(costly: tuple[Path, str]) -> None:
    home, experiment = costly
    with served(home, most_query_s=0.3) as client:
        answer = client.post(_SEARCH, json={"experiment_ids": [experiment], "filter": _COSTLY})
        assert answer.status_code == 400
        assert re.search("longer than 0.3 s: ask for fewer", answer.json()["message"])
        found: Any = client.post(_SEARCH, json={"experiment_ids": [experiment], "max_results": 3}).json()
        assert len(found["runs"]) == 3


def _answered(client: httpx2.Client, route: str) -> int:
    """How many requests to a route are over, by the server's own count."""
    lines = re.findall(rf"headway_requests_total{{[^}}]*{route}[^}}]*}} (\d+)", client.get("/metrics").text)
    return sum(map(int, lines))


def _until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.02)
