"""Sixteen write while one reads everything page by page: nobody is turned away, and no run is lost or comes twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.records import Experiment, Run, RunState
from headway.server.app import compose
from headway.server.settings import Settings
from tests.server.serving import served

_WRITERS = 16
_MLFLOW = "/api/2.0/mlflow"
_IN_ONE_ACT = 1000


@pytest.mark.parametrize(
    ("runs", "page", "rounds"), [(300, 40, 2), pytest.param(100_000, 1000, 100, marks=pytest.mark.slow)]
)
def test_reading_all_pages_while_sixteen_write(tmp_path: Path, runs: int, page: int, rounds: int) -> None:
    home = tmp_path / ".headway"
    before, experiment = _filled(home, runs)
    with served(home) as client:
        with ThreadPoolExecutor(_WRITERS) as threads:
            writing = [threads.submit(_write, client, experiment, writer, rounds) for writer in range(_WRITERS)]
            passes = 0
            while not passes or not all(each.done() for each in writing):
                for order in ([], ["metrics.acc DESC"]):
                    seen = Counter(_pages(client, experiment, page, order))
                    assert max(seen.values()) == 1
                    assert before <= seen.keys()
                passes += 1
        written = [run for each in writing for run in each.result()]
        assert len(written) == _WRITERS * rounds
        assert set(_pages(client, experiment, page, [])) == before | set(written)
        logged = client.post("/v1/runs/metrics", json={"runs": written[:1000]}).json()
        assert all(len(metrics) == 3 for metrics in logged.values())
        assert client.post("/v1/runs/count", json={"experiments": ["crowd"]}).json() == {"runs": runs + len(written)}


def _filled(home: Path, runs: int) -> tuple[set[str], str]:
    """A home with an experiment of so many runs; their ids, and its id."""
    application = compose(Settings(home=home))
    now, stores = application.clock.now(), application.stores
    experiment = Experiment(id=application.ids("ex"), created_at=now, name="crowd")
    identifiers = [application.ids("rn") for _ in range(runs)]
    for first in range(0, runs, _IN_ONE_ACT):
        with application.journal.act("ada", "run.start") as act:
            if first == 0:
                act.save(stores.experiments, experiment)
            part = identifiers[first : first + _IN_ONE_ACT]
            for number, identifier in enumerate(part, first):
                started_at = now - timedelta(seconds=number // 3)  # several at a time
                act.save(
                    stores.runs,
                    Run(
                        id=identifier, created_at=started_at, started_at=started_at, experiment="crowd",
                        state=RunState.RUNNING,
                    ),
                )  # fmt: skip
            curves = {
                (each, "acc"): Curve(steps=[0], at_us=[0], values=[number % 7 / 7])
                for number, each in enumerate(part)
                if number % 5
            }
            stores.metrics.add(curves)
    application.close()
    return set(identifiers), experiment.id


def _write(client: httpx2.Client, experiment: str, writer: int, rounds: int) -> list[str]:
    """Create runs and log to them, on a connection of its own; their ids."""
    made = []
    with httpx2.Client(base_url=client.base_url, headers=client.headers, timeout=60) as own:
        for number in range(rounds):
            run = _asked(own, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
            metrics = [
                {"key": key, "value": (writer + number) % 9 / 9, "timestamp": number, "step": number}
                for key in ("acc", "loss", f"own-{writer}")
            ]
            params = [{"key": "writer", "value": str(writer)}]
            _asked(own, "runs/log-batch", run_id=run, metrics=metrics, params=params)
            _asked(own, "runs/set-tag", run_id=run, key="round", value=str(number))
            made.append(run)
    return made


def _pages(client: httpx2.Client, experiment: str, page: int, order: list[str]) -> Iterator[str]:
    token = ""
    while True:
        body = {"experiment_ids": [experiment], "max_results": page, "order_by": order, "page_token": token}
        answer = _asked(client, "runs/search", **body)
        yield from (run["info"]["run_id"] for run in answer.get("runs", []))
        token = answer.get("next_page_token", "")
        if not token:
            return


def _asked(client: httpx2.Client, call: str, **body: Any) -> Any:
    answer = client.post(f"{_MLFLOW}/{call}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()
