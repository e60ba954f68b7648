"""`kill -9` among runs that are created and logged to over HTTP: what was answered is there afterwards."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from headway.kernel.clock import SystemClock
from headway.kernel.ledger import verify
from headway.lifecycle.runs.records import RunState
from headway.server.home import Home
from headway.storage.sql.stores import open_stores
from tests.server.serving import running, start

CONNECTIONS, ENOUGH = 8, 150


@dataclass
class Answered:
    """What one connection was told is kept."""

    created: list[str] = field(default_factory=list)
    params: list[tuple[str, str]] = field(default_factory=list)
    points: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.created) + len(self.params) + len(self.points) + len(self.ended)


def _log_until_it_is_gone(url: str, token: str, answered: Answered) -> None:
    headers = {"authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=f"{url}/api/2.0/mlflow/", headers=headers, timeout=20) as client:

        def call(path: str, **body: object) -> httpx2.Response:
            return client.post(path, json=body).raise_for_status()

        try:
            while True:
                run = call("runs/create", experiment_id="0").json()["run"]["info"]["run_id"]
                answered.created.append(run)
                for step in range(3):
                    call("runs/log-parameter", run_id=run, key=f"p{step}", value="x")
                    answered.params.append((run, f"p{step}"))
                    call("runs/log-metric", run_id=run, key="loss", value=0.5, timestamp=1, step=step)
                    answered.points.append((run, step))
                call("runs/update", run_id=run, status="FINISHED")
                answered.ended.append(run)
        except httpx2.TransportError:
            return


def test_kill_9_under_eight_connections_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    place = tmp_path / ".headway"
    process = start(place)
    url, home = running(place, process).url, Home(place)
    token = (place / "tokens" / "owner").read_text().strip()
    answered, enough = [Answered() for _ in range(CONNECTIONS)], threading.Event()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        calls = [threads.submit(_log_until_it_is_gone, url, token, each) for each in answered]
        while sum(map(len, answered)) < ENOUGH and not any(call.done() for call in calls):
            enough.wait(0.01)
        process.send_signal(signal.SIGKILL)
        for call in calls:
            call.result(20)
    process.communicate()
    assert sum(map(len, answered)) >= ENOUGH

    engine, _, stores = open_stores(home.database, SystemClock(), home.anchor)
    try:
        kept = {run: stores.runs.get(run) for each in answered for run in each.created}
        assert [run for run, found in kept.items() if found is None] == []
        assert [(run, key) for each in answered for run, key in each.params if key not in kept[run].params] == []
        assert [run for each in answered for run in each.ended if kept[run].state is not RunState.FINISHED] == []
        steps = {run: stores.metrics.curve(run, "loss", limit=10).steps for run in kept}
        assert [(run, step) for each in answered for run, step in each.points if step not in steps[run]] == []
        assert verify(stores.ledger) >= sum(len(each.created) + len(each.params) + len(each.ended) for each in answered)
    finally:
        engine.close()
