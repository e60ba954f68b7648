"""What a search costs at size: CPU and elapsed time of the server per call, medians of nine.

    python benchmarks/search.py                     61,000 runs, 10,000 of them in the experiment that is searched
    python benchmarks/search.py --runs 1000000      a million
    python benchmarks/search.py --home big --keep   fill the folder `big`, or search in what it was filled with before

The runs of the searched experiment are written through the storage, those of the others are copies of them made
inside SQLite. Each has ten params, ten or eleven metrics and three tags.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from tracking import Cost, Http, Server, _environment

from headway.kernel.clock import SystemClock, to_us
from headway.kernel.ids import time_sorted
from headway.lifecycle.runs.curve import Curve
from headway.lifecycle.runs.records import Experiment, Run, RunState
from headway.storage.sql.stores import open_stores

ROUNDS, PAGE, ACT = 9, 100, 500
SEARCHED = "searched"
_COPIES = (
    "INSERT INTO experiments SELECT 'ex_' || :k || substr(id, 10), :name,"
    " CAST(replace(replace(CAST(body AS TEXT), id, 'ex_' || :k || substr(id, 10)), '\"searched\"',"
    " '\"' || :name || '\"') AS BLOB) FROM experiments WHERE name = 'searched'",
    "INSERT INTO runs SELECT 'rn_' || :k || substr(id, 10), :name, parent, change, state,"
    " CAST(replace(replace(CAST(body AS TEXT), id, 'rn_' || :k || substr(id, 10)), '\"searched\"',"
    " '\"' || :name || '\"') AS BLOB) FROM runs WHERE experiment = 'searched' ORDER BY id",
    "INSERT INTO run_search SELECT 'rn_' || :k || substr(run, 10), :name, deleted, started_at, ended_at, name, state,"
    " user FROM run_search WHERE experiment = 'searched' ORDER BY run",
    "INSERT INTO run_texts SELECT 'rn_' || :k || substr(t.run, 10), kind, key, value FROM run_search s"
    " CROSS JOIN run_texts t ON t.run = s.run WHERE experiment = 'searched' ORDER BY t.run, kind, key",
    "INSERT INTO curves SELECT number + :shift, 'rn_' || :k || substr(run, 10), key, :name, points, loose, loose_from,"
    " last_at, step, at, value, lowest, highest FROM curves WHERE number <= :curves ORDER BY number",
    "INSERT INTO chunks SELECT curve + :shift, first, points, first_step, last_step, first_at, last_at, outline, body"
    " FROM chunks WHERE curve <= :curves ORDER BY curve",
)


def fill(home: Path, runs: int, searched: int) -> None:
    """The home of `runs` runs in all, `searched` of them in the experiment to search."""
    began = time.perf_counter()
    home.mkdir(parents=True)
    _write(home, searched)
    with closing(sqlite3.connect(home / "headway.db", isolation_level=None)) as database:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000", "foreign_keys = OFF"):
            database.execute(f"PRAGMA {pragma}")
        curves = database.execute("SELECT max(number) FROM curves").fetchone()[0]
        for copy in range(1, max(1, runs // searched)):
            database.execute("BEGIN")
            for statement in _COPIES:
                given = {"k": f"{copy:06d}", "name": f"beside-{copy:06d}", "shift": copy * curves, "curves": curves}
                database.execute(statement, {name: given[name] for name in given if f":{name}" in statement})
            database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
        kept = database.execute("SELECT count(*) FROM runs").fetchone()[0]
    size = (home / "headway.db").stat().st_size / 1e9
    print(f"{kept:,} runs filled in within {time.perf_counter() - began:.0f} s, {size:.2f} GB")


def _write(home: Path, runs: int) -> None:
    clock, draw = SystemClock(), random.Random(7)
    ids, now = time_sorted(clock), clock.now()
    opened = open_stores(home / "headway.db", clock, home / "ledger.head")
    with opened.journal.act("bench", "experiment.create") as act:
        act.save(opened.stores.experiments, Experiment(id=ids("ex"), created_at=now, name=SEARCHED))
    for first in range(0, runs, ACT):
        with opened.journal.act("bench", "run.start") as act:
            curves: dict[tuple[str, str], Curve] = {}
            for number in range(first, min(first + ACT, runs)):
                began = now - timedelta(seconds=runs - number)
                params = {f"p{place}": str(number * (place + 3) % 97) for place in range(9)}
                run = Run(
                    id=ids("rn"), created_at=began, started_at=began, ended_at=began + timedelta(seconds=40),
                    experiment=SEARCHED, name=f"run-{number}", state=RunState.FINISHED, started_by="bench",
                    params=params | {"model": f"{draw.choice(('forest', 'linear', 'boosted'))}-{number % 7}"},
                    tags={"mlflow.runName": f"run-{number}", "mlflow.user": "bench", "team": f"team-{number % 50}"},
                )  # fmt: skip
                act.save(opened.stores.runs, run)
                keys = ["acc", *(f"m{place}" for place in range(9)), *(["some"] if number % 10 == 0 else [])]
                for key in keys:
                    value = math.nan if key == "some" and number % 100 == 0 else draw.random()
                    curves[run.id, key] = Curve(steps=[0], at_us=[to_us(began)], values=[value])
            opened.stores.metrics.add(curves)
    opened.engine.close()


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """A server on `home`."""
    command = [sys.executable, "-m", "headway.cli", "up", "--home", str(home), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=home, env=_environment())
    try:
        while not (home / "server.json").exists():
            if process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        uri = json.loads((home / "server.json").read_text())["url"]
        yield Server(uri, (home / "tokens" / "owner").read_text().strip(), process.pid, own_api=False)
    finally:
        process.terminate()
        process.wait()


QUESTIONS: dict[str, dict[str, Any]] = {
    "acc > 0.9, by acc": {"filter": "metrics.acc > 0.9", "order_by": ["metrics.acc DESC"]},
    "acc > 0.9, newest first": {"filter": "metrics.acc > 0.9"},
    "acc > 0.999, newest first": {"filter": "metrics.acc > 0.999"},
    "all, newest first": {},
    "param = value": {"filter": "params.p3 = '11'"},
    "param = value that one run has": {"filter": "params.p3 = '11' AND params.p4 = '12' AND params.p5 = '13'"},
    "param LIKE": {"filter": "params.model LIKE 'for%-3'"},
    "tag LIKE that none has": {"filter": "tags.team LIKE '%nobody%'"},
    "two conditions, by acc": {"filter": "metrics.acc > 0.5 AND params.p3 = '11'", "order_by": ["metrics.acc DESC"]},
    "by a metric that a tenth has": {"order_by": ["metrics.some"]},
    "by a param": {"order_by": ["params.model"]},
    "by name": {"order_by": ["attributes.run_name"]},
}


class Mlflow:
    """Through MLflow's API."""

    def __init__(self, http: Http) -> None:
        self._http = http
        path = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={SEARCHED}"
        self._experiment = http.ask("GET", path)["experiment"]["experiment_id"]

    def page(self, question: dict[str, Any], token: str = "") -> tuple[int, str]:
        """How many came, and the token of the next page."""
        body = {"experiment_ids": [self._experiment], "max_results": PAGE, "page_token": token, **question}
        answer = self._http.ask("POST", "/api/2.0/mlflow/runs/search", body)
        return len(answer["runs"]), answer.get("next_page_token", "")


def native_lines(http: Http) -> dict[str, Callable[[], object]]:
    """The same through Headway's own API, and what MLflow's has not."""
    among = {"experiments": [SEARCHED]}
    by_acc = {"where": "metrics.acc > 0.9", "order": ["metrics.acc DESC"], "limit": PAGE}
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "native: acc > 0.9, by acc": ("search", {**among, **by_acc}),
        "native: all experiments, newest first": ("search", {"limit": PAGE}),
        "native: all experiments, acc > 0.9, by acc": ("search", by_acc),
        "count of the experiment": ("count", among),
        "count of acc > 0.9": ("count", {**among, "where": "metrics.acc > 0.9"}),
        "count of param LIKE": ("count", {**among, "where": "params.model LIKE 'for%-3'"}),
        "count of all experiments": ("count", {}),
    }
    return {
        name: lambda verb=verb, body=body: http.ask("POST", f"/v1/runs/{verb}", body)  # type: ignore[misc]
        for name, (verb, body) in bodies.items()
    }


def lines(http: Mlflow) -> dict[str, Callable[[], object]]:
    """What is measured, by its name."""
    work: dict[str, Callable[[], object]] = {}
    for name, question in QUESTIONS.items():
        work[name] = lambda question=question: http.page(question)  # type: ignore[misc]
    for name, place in {"second page": 2, "page 100, or the last": 100}.items():
        for by, question in {"newest first": {}, "by acc": {"order_by": ["metrics.acc DESC"]}}.items():
            token = _token(http, question, place)
            work[f"{by}, {name}"] = lambda question=question, token=token: http.page(question, token)  # type: ignore[misc]
    return work


def _token(http: Mlflow, question: dict[str, Any], place: int) -> str:
    token = ""
    for _ in range(place - 1):
        _, following = http.page(question, token)
        if not following:
            break
        token = following
    return token


def measured(server: Server, work: Callable[[], object]) -> Cost:
    costs = [server.cost(1, work) for _ in range(ROUNDS)]
    return Cost(median(cost.cpu_ms for cost in costs), median(cost.elapsed_ms for cost in costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=61_000)
    parser.add_argument("--searched", type=int, default=10_000)
    parser.add_argument("--home", type=Path, help="where to fill; it is searched as it is when it is there")
    parser.add_argument("--keep", action="store_true", help="leave the home behind")
    parser.add_argument("--only", default="", help="just the lines with this in their name")
    given = parser.parse_args()
    home = (given.home or Path(tempfile.mkdtemp()) / "home").resolve()
    try:
        if not home.exists():
            fill(home, given.runs, given.searched)
        with serving(home) as server:
            print(f"{f'page of {PAGE}, ms':44}{'CPU':>9}{'elapsed':>9}")
            for name, work in (lines(Mlflow(server.http)) | native_lines(server.http)).items():
                if given.only in name:
                    cost = measured(server, work)
                    print(f"{name:44}{cost.cpu_ms:9.2f}{cost.elapsed_ms:9.2f}", flush=True)
    finally:
        if not given.keep:
            shutil.rmtree(home if given.home else home.parent)


if __name__ == "__main__":
    main()
